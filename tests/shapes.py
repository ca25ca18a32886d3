"""Turns the jaxtyping annotations of the pure maths into checks.

The package itself imports jaxtyping for type checkers only. Here its modules are loaded once as a type
checker would see them, through jaxtyping's import hook, so that every call verifies every annotation with
beartype.
"""

import importlib
import pkgutil
import typing
from collections.abc import Iterator

import jaxtyping
from beartype import BeartypeConf, beartype

CHECKED = ("whet.functional", "whet.algorithms")

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for type checkers


def load_checked() -> None:
    """Imports the checked packages; before anything else has."""
    for name in ("torch", "whet.interfaces"):
        importlib.import_module(name)  # the ordinary way: they read TYPE_CHECKING too
    with jaxtyping.install_import_hook(list(CHECKED), "shapes.check"):
        typing.TYPE_CHECKING = True
        try:
            for module in _modules():
                importlib.import_module(module)
        finally:
            typing.TYPE_CHECKING = False


def _modules() -> Iterator[str]:
    for name in CHECKED:
        package = importlib.import_module(name)
        names = (module.name for module in pkgutil.iter_modules(package.__path__, f"{name}."))
        yield from (found for found in names if not found.endswith("_kernels"))  # no Python, and need triton
