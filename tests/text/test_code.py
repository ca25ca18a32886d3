"""Which part of a completion is its program."""

import pytest

from whet.text.code import first_python_block


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Here:\n```py\nx = 1\n```\nand\n```python\ny = 2\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```bash\nls\n```\n```python3\nx = 1\n```", "x = 1\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("~~~python\nx\n~~~", "x\n"),
        ("```python\n```", ""),
        ("```python\nx = 1", None),
        ("x = 1", None),
        ("```bash\nls\n```", None),
        ("say ```python\nx\n```", None),
    ],
)
def test_the_program_is_the_first_closed_block_that_is_python(text, program):
    assert first_python_block(text) == program


def test_a_text_of_nothing_but_fences_is_read_in_a_moment():
    assert first_python_block("```x\n```\n" * 20_000) is None
