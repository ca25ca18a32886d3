"""What a verifier that compares says of an example without an answer."""

from __future__ import annotations

from whet.errors import DataError
from whet.types import Example


def nothing_to_compare(verifier: str, example: Example | None) -> DataError:
    """The error; a comparison with nothing would look like a reward."""
    whose = "it" if example is None else example.id
    return DataError(
        f"{verifier} compares with the answer, and {whose} has none: name the field that holds it in task.answer, or "
        "choose a verifier that needs none, such as a function of your own"
    )
