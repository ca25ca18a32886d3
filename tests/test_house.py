"""Keeps the house rules, so that nobody has to remember them: floors, lazy imports, sizes, names, docstrings.

Plain `ast`: nothing of whet is imported. Each rule is a function that yields one sentence per violation, with
the place and the fix; the tests at the end show that each rule catches what it should.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "types interfaces errors registry config config_problems keys config_schema seeding yaml_source "
        "foreign_names shipped starter templates allocator compiled turns",
        "functional models text sandbox distributed tracking",
        "policies",
        "verifiers engines algorithms probes",
        "tasks",
        "rollouts control runs",
        "evals doctor dashboard",
        "training release serving sweeps",
        "api",
        "cli __init__ configs",
        "__main__",
    )
)
ROOMS = frozenset().union(*FLOORS)
PLUGIN_ROOMS = {"tasks", "verifiers", "engines", "algorithms", "probes", "policies"}
ONE_FILE = {
    "transformers", "peft", "vllm", "ray", "deepspeed", "wandb", "gymnasium", "datasets", "bitsandbytes", "pyarrow",
    "starlette", "uvicorn", "verifiers", "trackio", "jsonschema", "reasoning_gym", "math_verify",
}  # fmt: skip
LAZY = ONE_FILE | {"matplotlib", "tensorboard"}
WITHOUT_TORCH = re.compile(r"whet(\.(types|config|runs\.reader|tasks|verifiers|dashboard|cli)(\..*)?)?$")
FORBIDDEN_NAME = re.compile(r"^(utils?|common|helpers?|manager|misc)$|_(v\d+|new|old)$")
# Words are cut in two here, so that this file does not hold what it forbids.
FORBIDDEN_TEXT = re.compile(
    r"/wo" r"rk/|/ro" r"ot/|/tmp/b" r"ash|py" r"pi\.org|pythonho" r"sted\.org|download\.pyt" r"orch\.org|"
    r"anacon" r"da\.org|suba" r"gent|iss" r"ue #",
    re.IGNORECASE,
)  # fmt: skip
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS, MAX_NESTING = 500, 60, 6, 3

DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
# A method of a class with another base than these may inherit its documentation.
ROOT_BASES = {"ABC", "Protocol", "Generic", "Settings", "Plugin", "BaseModel", "NamedTuple"}


@dataclass(frozen=True)
class Import:
    target: str
    line: int
    lazy: bool
    """Inside a function."""

    @property
    def package(self) -> str:
        return "tensorboard" if "tensorboard" in self.target.split(".") else self.target.split(".")[0]


@dataclass(frozen=True)
class Source:
    path: str
    """From the root of the repository."""
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @functools.cached_property
    def module(self) -> str:
        """`whet.tasks.echo` for src/whet/tasks/echo.py, `whet.tasks` for its __init__; empty outside src."""
        parts = Path(self.path).with_suffix("").parts
        return ".".join(p for p in parts[1:] if p != "__init__") if parts[0] == "src" else ""

    @functools.cached_property
    def imports(self) -> list[Import]:
        """What runs when the program runs: imports under `if TYPE_CHECKING` are left out."""
        return list(self._imports_of(self.tree, lazy=False))

    def _imports_of(self, node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, lazy) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (Import(f"{self._origin(node)}.{a.name}", node.lineno, lazy) for a in node.names)
        for child in ast.iter_child_nodes(node):
            yield from self._imports_of(child, lazy or isinstance(node, FUNCTIONS))

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".") if self.path.endswith("__init__.py") else self.module.split(".")[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])

    def at(self, node: ast.stmt | Import | int) -> str:
        line = node if isinstance(node, int) else node.line if isinstance(node, Import) else node.lineno
        return f"{self.path}:{line}"


Rule = Callable[[list[Source]], Iterator[str]]


# --- the rules ---


def floors(sources: list[Source]) -> Iterator[str]:
    for source in in_package(sources):
        room = room_of(source.module)
        if room not in ROOMS:
            yield f"{source.path}:1: {room!r} has no floor; move it into a room, or add it to FLOORS here"
            continue
        for imported in source.imports:
            target = room_of(imported.target) if room_of(imported.target) in ROOMS else "__init__"
            if imported.package == "whet" and not allowed(room, target):
                yield (
                    f"{source.at(imported)}: {room} (floor {floor_of(room)}) imports {imported.target} "
                    f"(floor {floor_of(target)}); move the shared part down, or pass it in"
                )


def allowed(room: str, target: str) -> bool:
    return room == target or floor_of(target) < floor_of(room) or floor_of(room) == floor_of(target) == 0


def lazy_imports(sources: list[Source]) -> Iterator[str]:
    for source in in_package(sources):
        for imported in source.imports:
            if imported.package in LAZY and not imported.lazy:
                yield f"{source.at(imported)}: import {imported.package} inside the function that needs it"


def one_file_per_package(sources: list[Source]) -> Iterator[str]:
    for package in sorted(ONE_FILE):
        places = {s.path: s.at(i) for s in in_package(sources) for i in s.imports if i.package == package}
        if len(places) > 1:
            yield f"{', '.join(places.values())}: {package} belongs into one file; others call that"


def without_torch(sources: list[Source]) -> Iterator[str]:
    modules = {s.module: s for s in in_package(sources)}
    for source in modules.values():
        chain = way_to_torch(source, modules)
        if WITHOUT_TORCH.match(source.module) and chain:
            yield f"{chain[-1]}: {source.path} loads torch ({' -> '.join(chain)}); import it in a function"


def way_to_torch(source: Source, modules: dict[str, Source]) -> list[str]:
    """The module-level imports that lead from a module to torch; empty when there are none."""
    ways: dict[str, list[str]] = {source.module: []}
    waiting = [source]
    for here in waiting:
        for imported in (i for i in here.imports if not i.lazy):
            way = [*ways[here.module], here.at(imported)]
            if imported.package == "torch":
                return way
            new = [m for m in loaded_by(imported) if m in modules and m not in ways]
            ways.update(dict.fromkeys(new, way))
            waiting.extend(modules[m] for m in new)
    return []


def loaded_by(imported: Import) -> list[str]:
    """`whet.runs`, `whet.runs.reader` and `whet.runs.reader.Run` for the last: packages load first."""
    parts = imported.target.split(".")
    return [".".join(parts[:n]) for n in range(2, len(parts) + 1)]


def sizes(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        lines = len(source.text.splitlines())
        if lines > MAX_FILE:
            yield f"{source.path}:{lines}: {lines} lines, at most {MAX_FILE}; move one idea to its own file"
        for node in functions(source):
            yield from (f"{source.at(node)}: {node.name} {problem}" for problem in too_much(node, source))


def too_much(node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source) -> Iterator[str]:
    length, parameters, nesting = length_of(node), len(parameters_of(node)), nesting_of(node)
    if length > MAX_FUNCTION:
        yield f"has {length} lines, at most {MAX_FUNCTION}; cut it in two"
    # The parameters of a command are its options, those of a kernel all that it knows.
    may_have_more = source.module.startswith("whet.cli") or source.module.endswith("_kernels")
    if parameters > MAX_PARAMETERS and not may_have_more:
        yield f"has {parameters} parameters, at most {MAX_PARAMETERS}; group some in a dataclass"
    if nesting > MAX_NESTING:
        yield f"nests {nesting} deep, at most {MAX_NESTING}; name an inner part"


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of signature and body, without the docstring."""
    first = node.body[0]
    doc = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
    return node.end_lineno - node.lineno + 1 - doc


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names without self and cls; `*args` and `**kwargs` count as one each."""
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *(x for x in (a.vararg, a.kwarg) if x)]
    return [x.arg for x in every if x.arg not in ("self", "cls")]


def nesting_of(node: ast.AST, level: int = 0) -> int:
    """Depth of blocks; `elif` is no deeper than its `if`, and an inner function starts again from zero."""
    deepest = level
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, DEFS):
            is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            step = isinstance(child, BLOCKS) and not is_elif
            deepest = max(deepest, nesting_of(child, level + step))
    return deepest


def one_plugin_per_file(sources: list[Source]) -> Iterator[str]:
    """A file whose name starts with an underscore holds a part that several plug-ins share."""
    plugins = plugin_classes(sources)
    for source in in_package(sources):
        stem = Path(source.path).stem
        if room_of(source.module) not in PLUGIN_ROOMS or stem.startswith("_") or stem == "function":
            continue
        found = [
            n for n in source.tree.body if isinstance(n, ast.ClassDef) and n.name in plugins and is_public(n)
        ]
        if len(found) != 1:
            names = ", ".join(n.name for n in found) or "none"
            yield f"{source.path}:1: expected one public plug-in class, found {names}; give each its file"
        elif not found[0].name.lower().startswith(stem.replace("_", "")):
            yield f"{source.at(found[0])}: {found[0].name} is loaded as {stem!r}; name class and file alike"


def plugin_classes(sources: list[Source]) -> set[str]:
    """Names of all classes that come from `registry.Plugin`, over any number of steps."""
    bases = {
        n.name: bases_of(n) for s in in_package(sources) for n in s.tree.body if isinstance(n, ast.ClassDef)
    }
    known = {"Plugin", "Task", "Verifier", "Algorithm", "Probe"}
    while more := {name for name, its in bases.items() if its & known} - known:
        known |= more
    return known


def bases_of(node: ast.ClassDef) -> set[str]:
    """The last names of the bases, without type arguments."""
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}


def file_names(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        bad = [part for part in Path(source.path).with_suffix("").parts if FORBIDDEN_NAME.search(part)]
        if bad:
            yield f"{source.path}:1: {bad[0]!r} says nothing; name the one idea that the file holds"


def docstrings(sources: list[Source]) -> Iterator[str]:
    for source in in_package(sources):
        if source.text.strip() and ast.get_docstring(source.tree) is None:
            yield f"{source.path}:1: the module needs a docstring: what it is for"
        for node in documented(source.tree):
            if ast.get_docstring(node) is None:
                yield f"{source.at(node)}: {node.name} needs a docstring: what it returns or does"


def documented(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions and classes, and public methods that have no base to inherit a docstring from."""
    for node in tree.body:
        if isinstance(node, DEFS) and is_public(node):
            yield node
            if isinstance(node, ast.ClassDef) and bases_of(node) <= ROOT_BASES:
                yield from (n for n in node.body if isinstance(n, FUNCTIONS) and is_public(n))


def is_public(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not node.name.startswith("_") and not any(
        "overload" in ast.unparse(d) for d in node.decorator_list
    )


RULES: tuple[Rule, ...] = (
    floors,
    lazy_imports,
    one_file_per_package,
    without_torch,
    sizes,
    one_plugin_per_file,
    file_names,
    docstrings,
)


# --- what the rules look at ---


def room_of(module: str) -> str:
    """`tasks` for whet.tasks.echo, `__init__` for whet itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(room: str) -> int:
    return next(n for n, floor in enumerate(FLOORS) if room in floor)


def in_package(sources: Iterable[Source]) -> list[Source]:
    return [s for s in sources if s.module]


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(source.tree) if isinstance(node, FUNCTIONS))


@functools.cache
def committed() -> tuple[Path, ...]:
    """Every file that git holds or would take, from the root of the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return tuple(p.relative_to(ROOT) for top in ("src", "tests") for p in (ROOT / top).rglob("*.*"))
    return tuple(sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()}))


@functools.cache
def all_sources() -> list[Source]:
    paths = [p for p in committed() if p.suffix == ".py"]
    return [Source(p.as_posix(), (ROOT / p).read_text(encoding="utf-8")) for p in paths]


# --- the tests ---


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    problems = list(rule(all_sources()))
    assert not problems, "\n" + "\n".join(problems)


def test_the_repository_names_no_machine_no_registry_and_no_tracker() -> None:
    problems = []
    for path in committed():
        text = (ROOT / path).read_bytes().decode("utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), 1):
            if found := FORBIDDEN_TEXT.search(line):
                problems.append(
                    f"{path}:{number}: {found.group()!r} means nothing to a reader elsewhere; leave it out"
                )
    assert not problems, "\n" + "\n".join(problems)


def problems_of(rule: Rule, **files: str) -> list[str]:
    """What a rule says of files given as `tasks__echo="source"`."""
    return list(rule([Source(f"src/whet/{n.replace('__', '/', 1)}.py", text) for n, text in files.items()]))


@pytest.mark.parametrize(
    ("rule", "files", "expected"),
    [
        (floors, {"tasks__echo": "from whet.training import rl"}, "echo.py:1: tasks (floor 4)"),
        (floors, {"engines__native": "def f():\n  from whet import algorithms"}, "native.py:2: engines"),
        (floors, {"tasks__echo": "from whet import train"}, "(floor 9)"),
        (floors, {"attic": "import os"}, "'attic' has no floor"),
        (floors, {"runs__a": "from ..evals import b"}, "imports whet.evals.b"),
        (lazy_imports, {"policies__hf": "import transformers"}, "import transformers inside"),
        (
            lazy_imports,
            {"tracking__tb": "from torch.utils.tensorboard import X"},
            "import tensorboard inside",
        ),
        (
            one_file_per_package,
            {"runs__a": "def f():\n  import peft", "evals__b": "def f():\n  import peft"},
            "runs/a.py:2, src/whet/evals/b.py:2: peft belongs",
        ),
        (without_torch, {"types": "import torch"}, "types.py:1"),
        (
            without_torch,
            {"tasks__echo": "from whet.text import tags", "text__tags": "import os\nfrom torch import nn"},
            "src/whet/tasks/echo.py:1 -> src/whet/text/tags.py:2",
        ),
        (sizes, {"types": "\n" * 501}, "501 lines"),
        (sizes, {"types": "def f():\n" + "  x = 1\n" * 60}, "f has 61 lines"),
        (sizes, {"types": "def f(a, b, c, *, d, e, g, h): ..."}, "f has 7 parameters"),
        (sizes, {"types": "def f():\n if 1:\n  for x in y:\n   with z:\n    while 1: pass"}, "nests 4 deep"),
        (one_plugin_per_file, {"tasks__echo": "class Echo(Task): ...\nclass Two(Echo): ..."}, "Echo, Two"),
        (one_plugin_per_file, {"probes__x": "class _Own(Probe): ..."}, "found none"),
        (one_plugin_per_file, {"tasks__echo": "class Shout(interfaces.Task): ..."}, "loaded as 'echo'"),
        (file_names, {"runs__utils": ""}, "'utils'"),
        (file_names, {"runs__reader_v2": ""}, "'reader_v2'"),
        (docstrings, {"types": "'''Nouns.'''\ndef f(): ..."}, "types.py:2: f needs"),
        (
            docstrings,
            {"types": "'''Nouns.'''\nclass A:\n  '''A.'''\n  def f(self): ..."},
            "types.py:4: f needs",
        ),
        (docstrings, {"types": "x = 1"}, "the module needs"),
    ],
)
def test_a_rule_catches_what_breaks_it(rule: Rule, files: dict[str, str], expected: str) -> None:
    problems = problems_of(rule, **files)
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        (floors, {"config": "from whet.types import Batch", "training__rl": "from whet.evals import x"}),
        (floors, {"types": "if TYPE_CHECKING:\n  from whet.training import rl"}),
        (lazy_imports, {"policies__hf": "def f():\n  import transformers"}),
        (without_torch, {"tasks__echo": "def f():\n  import torch", "engines__native": "import torch"}),
        (
            sizes,
            {"types": "def f(self, a, b, c, d, e, g):\n  '''Doc\n" + "\n" * 90 + "'''\n" + "  x = 1\n" * 59},
        ),
        (sizes, {"types": "def f():\n if a: 1\n elif b: 1\n elif c: 1\n elif d: 1\n else: 1"}),
        (one_plugin_per_file, {"algorithms__dr_grpo": "class Result: ...\nclass DrGRPO(Algorithm): ..."}),
        (
            docstrings,
            {"types": "'''Nouns.'''\nclass A(B):\n  '''A.'''\n  def f(self): ...\n  def _g(self): ..."},
        ),
    ],
)
def test_a_rule_lets_pass_what_keeps_it(rule: Rule, files: dict[str, str]) -> None:
    assert problems_of(rule, **files) == []
