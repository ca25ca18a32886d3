"""Reads final answers written in LaTeX or plainly: finds them in a completion, and writes each in one way.

Only strings are handled here, and nothing a model wrote is ever run. Limits come before any reading.
"""

from __future__ import annotations

import re

from whet.text.tags import boxed, marked_answer

MAX_COMPLETION, MAX_CANDIDATE = 1_000_000, 4096  # characters
MAX_NESTING, MAX_DIGIT_RUN, MAX_DIGITS = 64, 256, 2048


class TooLarge(Exception):
    """A text is beyond a limit, so that no verdict is given."""


def final_answer(text: str) -> str | None:
    """The final answer of a completion: its marked answer, else the last resort; None when there is none.

    Marked is what `tags.marked_answer` finds, and a box inside of it. The last resort is the first of: the rest of the
    line after the last `answer is` or `answer:`, the last `$...$`, `\\(...\\)` or `\\[...\\]`, the last line of fewer
    than three words, the last number. Raises `TooLarge` for a text of more than a million characters.
    """
    if len(text) > MAX_COMPLETION:
        raise TooLarge(f"a completion of {len(text)} characters")
    marked = marked_answer(text)
    if marked is None:
        return _last_resort(text[-2 * MAX_CANDIDATE :])
    inner = boxed(marked)
    return (marked if inner is None else inner).strip() or None


def formulas_in(text: str) -> list[str]:
    """What stands in `$...$`, `$$...$$`, `\\(...\\)` and `\\[...\\]`, in order; longer ones than 4096 are left out."""
    return [next(filter(None, match.groups())) for match in _FORMULA.finditer(text)]


def canonical(text: str) -> str:
    """An answer with one way of writing each thing, and no `$`, sizes, fonts, wide spaces and thousands commas.

    Braces of sets become ⟅ and ⟆, the end of a row ⏎; `*` and `/` stand for every product and quotient sign, ° and %
    for every degree and percent sign. Raises `TooLarge` above 4096 characters, 64 levels or 2048 digits.
    """
    if len(text) > MAX_CANDIDATE:
        raise TooLarge(f"an answer of {len(text)} characters")
    text = _of_dollars(text.translate(_CHARACTERS))
    for pattern, written in _REWRITES:
        text = pattern.sub(written, text)
    text = _SUPERSCRIPTS.sub(lambda m: "^{" + m.group().translate(_RAISED) + "}", text)
    text = _BARE_FUNCTION.sub(lambda m: _COMMANDS[m.group().lower()] + " ", text)
    _check_limits(text)
    return _trimmed(text)


def squeezed(text: str) -> str:
    """A canonical text without the spaces that mean nothing; those between digits stay."""
    return re.sub(r"(?<!\d) +| +(?!\d)", "", text)


def words_of(text: str) -> str:
    """What a canonical text says as words, for answers such as `\\text{Saturday}` and `(B)`."""
    bare = re.sub(r"[\s{}().,;:*⟅⟆\"'`-]+", " ", re.sub(r"\\text ?(?=\{)", " ", text))
    return bare.strip().casefold()


def _last_resort(text: str) -> str | None:
    text = re.sub(r"</?(?:answer|think)>", "\n", text)
    said = list(_ANSWER_IS.finditer(text))
    if said:
        line = text[said[-1].end() :].lstrip(" :*\n").partition("\n")[0]
        sentence = re.split(r"(?<=[^.\s])\.\s+(?=[A-Z])", line, maxsplit=1)[0]
        if sentence.strip(" .*$"):
            return sentence.strip()
    formulas = formulas_in(text)
    if formulas:
        return formulas[-1].strip() or None
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    if last and len(last) <= 256 and len(_WORD.findall(last)) < 3:
        return last
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def _of_dollars(text: str) -> str:
    """What stands between dollar signs; of the prose around it only what separates several answers."""
    text = text.replace("\\$", " ")
    pieces = re.split(r"\$\$?", text)
    if len(pieces) < 3 or len(pieces) % 2 == 0:
        return text.replace("$", " ")
    joined = []
    for place, piece in enumerate(pieces):
        separator = re.search(r"\b(?:and|or)\b|[,;]", piece)
        is_last = place == len(pieces) - 1
        joined.append(piece if place % 2 else " , " if separator and place and not is_last else " ")
    return "".join(joined)


def _check_limits(text: str) -> None:
    depth = deepest = 0
    for char in text:
        depth += (char in "{([⟅") - (char in "})]⟆")
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise TooLarge(f"{deepest} levels of brackets")
    runs = re.findall(r"\d+", text)
    if sum(map(len, runs)) > MAX_DIGITS or max(map(len, runs), default=0) > MAX_DIGIT_RUN:
        raise TooLarge("too many digits")


def _trimmed(text: str) -> str:
    """Without the punctuation and bold marks around an answer, and without braces around the whole of it."""
    text = re.sub(r"\s+", " ", text)
    while True:
        before = text
        text = text.strip(" `\n").removeprefix("**").removesuffix("**").removesuffix("⏎")
        text = re.sub(r"(?<!\\)[.,;:!]+$", "", text) if not re.search(r"[\w)}]!$", text) else text
        if text.startswith("{") and _closes(text, 0) == len(text) - 1 and "," not in text:
            text = text[1:-1]
        if text == before:
            return text


def _closes(text: str, start: int) -> int:
    """Where the brace that opens at `start` is closed; -1 when it is not."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    return -1


_ANSWER_IS = re.compile(r"\banswers?\b(?:\s{0,3}\*\*)?(?:\s{1,3}(?:is|are)\b|\s{0,3}[:=])", re.IGNORECASE)
_FORMULA = re.compile(
    r"\$\$([^$]{1,4096})\$\$|(?<![\\$])\$([^$\n]{1,4096})(?<!\\)\$|\\\(((?:(?!\\\)).){1,4096})\\\)"
    r"|\\\[((?:(?!\\\]).){1,4096})\\\]",
    re.DOTALL,
)
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?%?")

# Signs that have one command each; those with spaces in them end it.
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–﹣－", "-"),
        **dict.fromkeys("×·⋅∙", "*"),
        "÷": "/", "／": "/", "＝": "=", "，": ",", "％": "%", "＋": "+", "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∈": r"\in ", "θ": r"\theta ", "½": r"\frac{1}{2}",
        "⅓": r"\frac{1}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅔": r"\frac{2}{3}", "±": r"\pm ",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "£": " ", "€": " ", "⟅": " ", "⟆": " ", "⏎": " ", "º": "°",
    }
)  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_SUPERSCRIPTS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+")
_FUNCTIONS = "arcsin arccos arctan sinh cosh tanh sin cos tan cot sec csc log ln exp sqrt pi"
_COMMANDS = {name: f"\\{name}" for name in _FUNCTIONS.split()} | {
    "infinity": r"\infty", "infty": r"\infty", "inf": r"\infty", "union": r"\cup", "theta": r"\theta",
}  # fmt: skip
_BARE_FUNCTION = re.compile(
    rf"(?<![\\A-Za-z])(?<!text\{{)(?:{'|'.join(_COMMANDS)})(?![A-Za-z])", re.IGNORECASE
)
_END = r"(?![A-Za-z])"


def _rewrite(pattern: str, written: str) -> tuple[re.Pattern[str], str]:
    return re.compile(pattern), written


_REWRITES = (
    _rewrite(r"\\\\", " ⏎ "),  # the end of a row, before a backslash of it is taken for a space
    # Thousands, while the spaces between them still can be told from others.
    _rewrite(r"(?<=\d)(?:,\\!|\\!,|\{,\}(?:\\!)?|\\,)(?=\d{3}(?!\d))", ""),
    _rewrite(r"(?<=\d)\\!(?=\d)", ""),
    _rewrite(r"\\(?:left|right)\s*\.", " "),
    _rewrite(rf"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|boldsymbol){_END}", " "),
    _rewrite(rf"\\(?:phantom|hspace|vspace)\*?{_END}\s*\{{[^{{}}]*\}}", " "),
    _rewrite(r"\\[,!;: ()\[\]]|~", " "),
    _rewrite(rf"\\q?quad{_END}", " "),
    _rewrite(rf"\\(?:lbrace{_END}|\{{)", "⟅"),
    _rewrite(rf"\\(?:rbrace{_END}|\}})", "⟆"),
    _rewrite(
        rf"\\(?:text(?:normal|bf|it|rm|sf|tt)?|mbox|hbox|mathrm|mathbf|mathit|operatorname\*?|emph){_END}\s*",
        r"\\text",
    ),
    _rewrite(rf"\\[dtc]frac{_END}", r"\\frac"),
    _rewrite(rf"\\[dt]binom{_END}", r"\\binom"),
    _rewrite(rf"\\(?:cdot|times){_END}", "*"),
    _rewrite(r"(?<=[\w)}\]]) ?\*\*(?=\s*[\d(])", "^"),
    _rewrite(rf"\\div{_END}", "/"),
    _rewrite(rf"\\l?[vV]ert{_END}|\\r[vV]ert{_END}|\\mid{_END}", "|"),
    _rewrite(rf"\\(?:leq|leqslant){_END}|<=", r"\\le "),
    _rewrite(rf"\\(?:geq|geqslant){_END}|>=", r"\\ge "),
    _rewrite(rf"\\neq{_END}|!=", r"\\ne "),
    _rewrite(rf"\\lt{_END}", "<"),
    _rewrite(rf"\\gt{_END}", ">"),
    _rewrite(rf"\\(?:langle|lparen){_END}", "("),
    _rewrite(rf"\\(?:rangle|rparen){_END}", ")"),
    _rewrite(rf"\\lbrack{_END}", "["),
    _rewrite(rf"\\rbrack{_END}", "]"),
    _rewrite(rf"\^\s*\\circ{_END}|\^\s*\{{\s*\\circ\s*\}}|\^\s*°|\\degrees?{_END}", "°"),
    _rewrite(r"\\%", "%"),
)
