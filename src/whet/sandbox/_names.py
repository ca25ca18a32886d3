"""What the names in a piece of Python are: read, defined, tests, exceptions. Nothing is run.

Every function raises `SyntaxError`.
"""

from __future__ import annotations

import ast
import builtins


def defined_names(code: str) -> set[str]:
    """The functions and classes that it defines at its top."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(code).body if isinstance(node, kinds)}


def free_names(code: str) -> set[str]:
    """The names that it reads and neither defines nor imports, builtins left out."""
    read: set[str] = set()
    made: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        else:
            made.add(_made_by(node))
    return {name for name in read - made if not hasattr(builtins, name)}


def owners(code: str) -> set[str]:
    """The names whose attributes are read: `math.pi` reads one of `math`, and `select(1)` none."""
    found = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    return {value.id for value in found if isinstance(value, ast.Name)}


def exceptions(code: str) -> set[str]:
    """The names that are caught, by `except` or `assertRaises`."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ExceptHandler):
            found += node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith("assertRaises"):
            found += node.args[:1]
    return {node.id for node in found if isinstance(node, ast.Name)}


def imported(code: str) -> set[str]:
    """The packages that it names in imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


def uncalled_tests(code: str) -> list[str]:
    """The functions without parameters, named `test...`, that it defines at its top and never mentions again."""
    tree = ast.parse(code)
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
        if node.name not in mentioned and not ast.unparse(node.args)
    ]


def _made_by(node: ast.AST) -> str:
    """The name that a piece of syntax gives to something, or an empty one."""
    if isinstance(node, ast.alias):
        return (node.asname or node.name).partition(".")[0]
    for field in ("id", "name", "arg"):  # names and definitions, handlers, parameters
        if isinstance(found := getattr(node, field, None), str):
            return found
    return ""
