"""What all tests share: shapes and dtypes of the pure maths are checked wherever a test calls it.

The package itself imports jaxtyping for type checkers only. Here its modules are loaded once as a type
checker would see them, through jaxtyping's import hook, so that every call verifies every annotation with
beartype.
"""

import importlib
import pkgutil
import typing

import jaxtyping

CHECKED = ("whet.functional", "whet.algorithms")
FIRST = ("beartype", "torch", "whet.interfaces")  # loaded the ordinary way: they read TYPE_CHECKING too


def _load_checked() -> None:
    for name in FIRST:
        importlib.import_module(name)
    with jaxtyping.install_import_hook(list(CHECKED), "beartype.beartype"):
        typing.TYPE_CHECKING = True
        try:
            for name in CHECKED:
                package = importlib.import_module(name)
                for module in pkgutil.iter_modules(package.__path__, f"{name}."):
                    importlib.import_module(module.name)
        finally:
            typing.TYPE_CHECKING = False


_load_checked()
