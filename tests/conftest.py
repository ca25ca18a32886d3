"""What all tests share: the shapes and dtypes of the pure maths are checked wherever a test calls it."""

import shapes

shapes.load_checked()
