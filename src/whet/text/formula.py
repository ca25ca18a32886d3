"""Reads one formula into a tree, with a grammar of its own: a model's text never reaches `eval` or anything like it.

A tree is a nested tuple: `("number", Fraction)`, `("symbol", name)`, `("+", a, b)`, `("function", "sin", a)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Tree = tuple[Any, ...]

MAX_NODES, MAX_DEPTH = 512, 64


class Unreadable(Exception):
    """The text is no formula of this grammar."""


class TooBig(Exception):
    """The value, or the way to it, is beyond a limit."""


def read(text: str) -> Tree:
    """The tree of a canonical text (see `latex.canonical`).

    Raises `Unreadable`, and `TooBig` above 512 parts or 64 levels.
    """
    reader = _Reader(_tokens(text))
    tree = reader.sum()
    if reader.left:
        raise Unreadable(text)
    return tree


def symbols(tree: Tree) -> set[str]:
    """The names of the variables in a tree."""
    if tree[0] == "symbol":
        return {tree[1]}
    return set().union(*(symbols(part) for part in tree[1:] if isinstance(part, tuple)))


_TOKEN = re.compile(r"\s*(?:\d+(?:\.\d+|\.(?=\s*\\overline))?|\.\d+|\\[A-Za-z]+|\S)")


def _commands(names: str) -> frozenset[str]:
    return frozenset(f"\\{name}" for name in names.split())


_GREEK = _commands(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi varphi chi psi "
    "omega ell Gamma Delta Theta Lambda Sigma Phi Psi Omega triangle angle"
)
FUNCTIONS = _commands("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp")
_PAIRS = {
    "(": (")", None), "[": ("]", None), "{": ("}", None), "|": ("|", "absolute"),
    "\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceiling"),
}  # fmt: skip


def _tokens(text: str) -> list[str]:
    """Numbers, commands and single characters."""
    text = re.sub(r"(?<![\d.])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}", text)  # 3 1/2
    return [match.group().strip() for match in _TOKEN.finditer(text.rstrip())]


class _Reader:
    """Recursive descent over the tokens; what is read is never longer than what was written, and limits bound it."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0
        self._nodes = 0
        self._depth = 0
        self._bars = 0

    @property
    def left(self) -> bool:
        """Whether something is still to be read."""
        return self._place < len(self._tokens)

    @property
    def _next(self) -> str:
        return self._tokens[self._place] if self.left else ""

    def _take(self) -> str:
        token = self._next
        if not token:
            raise Unreadable("it ends too early")
        self._place += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise Unreadable(f"expected {token}")

    def _node(self, *parts: Any) -> Tree:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TooBig("a formula of many parts")
        return parts

    def sum(self) -> Tree:
        """Terms with + and - between them."""
        tree = self._product()
        while self._next in ("+", "-"):
            operation = self._take()
            tree = self._node(operation, tree, self._product())
        return tree

    def _product(self) -> Tree:
        tree = self._signed()
        while self.left:
            if self._next in ("*", "/"):
                tree = self._node(self._take(), tree, self._signed())
            elif self._starts_factor():
                tree = self._implicit(tree)
            else:
                break
        return tree

    def _implicit(self, tree: Tree) -> Tree:
        """A factor without a sign: a product, or the fraction of a mixed number such as 3\\frac{1}{2}."""
        before = self._tokens[self._place - 1]
        is_fraction = self._next == "\\frac"
        factor = self._power()
        is_mixed = is_fraction and before.isdecimal() and _whole_fraction(factor)
        if (
            is_mixed
            and tree[0] in ("number", "negative")
            and tree[-1] in (Fraction(before), ("number", Fraction(before)))
        ):
            if tree[0] == "negative":
                return self._node("negative", self._node("+", tree[1], factor))
            return self._node("+", tree, factor)
        return self._node("*", tree, factor)

    def _starts_factor(self) -> bool:
        token = self._next
        if token == "|":
            return not self._bars
        if token[0] == "\\":
            return token in _GREEK | FUNCTIONS | _STARTING or (token in _PAIRS)
        return (
            token[0].isalpha()
            or token in "({["
            or (token[0].isdecimal() and self._tokens[self._place - 1] in ")]}")
        )

    def _signed(self) -> Tree:
        is_negative = False
        while self._next in ("-", "+"):
            is_negative ^= self._take() == "-"
        return self._node("negative", self._power()) if is_negative else self._power()

    def _power(self) -> Tree:
        base = self._postfix()
        if self._next != "^":
            return base
        self._take()
        return self._after_power(self._node("^", base, self._exponent()))

    def _after_power(self, tree: Tree) -> Tree:
        while self._next == "!":
            self._take()
            tree = self._node("factorial", tree)
        return tree

    def _exponent(self) -> Tree:
        return self._nested(self._group if self._next == "{" else self._signed)

    def _postfix(self) -> Tree:
        tree = self._primary()
        while self._next in ("!", "°"):
            sign = self._take()
            tree = self._node("factorial", tree) if sign == "!" else self._node("*", tree, _DEGREE)
        return tree

    def _primary(self) -> Tree:
        return self._nested(self._plain_primary)

    def _nested(self, part: Callable[[], Tree]) -> Tree:
        """A part one level deeper; every way down comes by here."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooBig("a formula of many levels")
        tree = part()
        self._depth -= 1
        return tree

    def _plain_primary(self) -> Tree:
        token = self._take()
        if token[0].isdecimal() or (token[0] == "." and len(token) > 1):
            return self._number(token)
        if token in _PAIRS:
            self._place -= 1
            return self._group()
        if token in FUNCTIONS:
            return self._function(token)
        if token in _BUILT:
            return _BUILT[token](self)
        if token.isalpha() or token in _GREEK:
            return self._symbol(token)
        raise Unreadable(token)

    def _number(self, token: str) -> Tree:
        if not token.isascii() or self._next == "_":
            raise Unreadable(token)  # a number of another base is no number here
        if self._next == "\\overline" and "." in token:
            return self._repeating(token)
        return self._node("number", Fraction(token))

    def _repeating(self, token: str) -> Tree:
        """Decimals that repeat: 0.1\\overline{6} is a sixth."""
        self._take()
        digits = self._label()
        if not (digits.isascii() and digits.isdecimal()):
            raise Unreadable(digits)
        decimals = len(token.partition(".")[2])
        repeated = Fraction(int(digits), (10 ** len(digits) - 1) * 10**decimals)
        return self._node("number", Fraction(token.removesuffix(".")) + repeated)

    def _symbol(self, token: str) -> Tree:
        name = token
        if self._next == "_":
            self._take()
            name += "_" + self._label()
        while self._next == "'":
            name += self._take()
        if name in ("e", "i"):
            return self._node("constant", name)
        return self._node("symbol", name)

    def _label(self) -> str:
        token = self._take()
        if token != "{":
            return token
        label = ""
        while self._next not in ("}", ""):
            label += self._take()
        self._expect("}")
        return label

    def _group(self) -> Tree:
        opening = self._take()
        if opening not in _PAIRS:
            raise Unreadable(opening)
        closing, function = _PAIRS[opening]
        bars, self._bars = self._bars, int(opening == "|")
        tree = self.sum()
        self._expect(closing)
        self._bars = bars
        return self._node(function, tree) if function else tree

    def argument(self) -> Tree:
        """What \\frac takes: a group in braces, or the next digit or sign alone."""
        if self._next in ("{", "("):
            return self._group()
        token = self._next
        if token[:1].isdecimal() and len(token) > 1:
            if not token.isdecimal():
                raise Unreadable(token)
            self._tokens[self._place : self._place + 1] = [token[0], token[1:]]
        return self._primary()

    def fraction(self) -> Tree:
        """\\frac and its two arguments."""
        return self._node("/", self.argument(), self.argument())

    def binomial(self) -> Tree:
        """\\binom and its two arguments."""
        return self._node("binomial", self.argument(), self.argument())

    def root(self) -> Tree:
        """\\sqrt, of any degree in brackets."""
        degree: Tree = ("number", Fraction(2))
        if self._next == "[":
            degree = self._group()
        # Whoever writes \sqrt13 without braces means the whole number.
        return self._node("root", self._group() if self._next == "{" else self._primary(), degree)

    def _function(self, token: str) -> Tree:
        name, power, base = token[1:], None, None
        while self._next in ("^", "_"):
            if self._take() == "^":
                power = self._exponent_of_function()
            else:
                base = self._group() if self._next == "{" else self._primary()
        value = self._node("function", name, self._function_argument())
        if base is not None:
            value = self._node(
                "/", self._node("function", "ln", value[2]), self._node("function", "ln", base)
            )
        if power == ("negative", ("number", Fraction(1))):
            return self._node("function", f"arc{name}", value[2])
        return value if power is None else self._node("^", value, power)

    def _exponent_of_function(self) -> Tree:
        return self._group() if self._next == "{" else self._primary()

    def _function_argument(self) -> Tree:
        """A group, or the factors up to the next sign or function, as in \\sin 2x \\cos y."""
        if self._next in ("(", "{", "|"):
            return self._power()
        tree = self._signed()
        while self.left and self._starts_factor() and self._next not in FUNCTIONS:
            tree = self._node("*", tree, self._power())
        return tree


def _whole_fraction(tree: Tree) -> bool:
    return tree[0] == "/" and all(part[0] == "number" and part[1].denominator == 1 for part in tree[1:])


_BUILT: dict[str, Callable[[_Reader], Tree]] = {
    "\\frac": _Reader.fraction,
    "\\binom": _Reader.binomial,
    "\\sqrt": _Reader.root,
    "\\pi": lambda reader: ("constant", "pi"),
    "\\infty": lambda reader: ("constant", "infinity"),
}
_STARTING = frozenset(_BUILT)
_DEGREE: Tree = ("/", ("constant", "pi"), ("number", Fraction(180)))
