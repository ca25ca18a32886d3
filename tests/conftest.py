"""What all tests share: one thread each, and shapes and dtypes of the pure maths checked wherever a test calls it."""

import os

# Before torch is loaded, and for the processes that tests start: workers that share cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shapes

shapes.load_checked()
