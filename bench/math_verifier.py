"""Checks `math_expression` on the answers of MATH: rewritings are right, perturbations never, hostile texts harmless.

    python bench/math_verifier.py --path train.json        (rows with `problem`, `answer` or `solution`)

Prints lines as it goes and one JSON object at the end; exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from mpmath import mp, mpf

from whet.sandbox import pool
from whet.tasks.math import Math
from whet.types import Example
from whet.verifiers.math_expression import MathExpression

VERIFIER = MathExpression()
SHOWN = 12


# --- rewritings: another notation of the same value ---


def _sub(pattern: str, written: str) -> Callable[[str], str]:
    return lambda answer: re.sub(pattern, written, answer)


def _half_as_decimal(answer: str) -> str:
    """A fraction whose decimals end, as decimals; others stay."""
    match = re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", answer)
    if not match or int(match[3]) == 0:
        return answer
    bottom = Fraction(int(match[2]), int(match[3])).denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return match[1] + f"{Decimal(match[2]) / Decimal(match[3]):f}" if bottom == 1 else answer


def _with_left_right(answer: str) -> str:
    bare = re.sub(r"\\(left|right)", "", answer)
    return re.sub(r"([\])])", r"\\right\1", re.sub(r"([\[(])", r"\\left\1", bare))


def _with_commas(answer: str) -> str:
    plain = re.sub(r",\\!|\{,\}", "", answer)
    return f"{int(plain):,}" if re.fullmatch(r"-?\d+", plain) else answer


def _is_one_value(answer: str) -> bool:
    return not re.search(r"[,=<>]|\\(?:leq?|geq?|approx|text|mbox|cup|in|pm)\b|\\begin", answer)


def _is_number(answer: str) -> bool:
    return re.fullmatch(r"-?\d+|-?\\[dt]?frac\{\d+\}\{\d+\}|-?\d*\.\d+", answer) is not None


REWRITINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda a: a,
    "dfrac": _sub(r"\\[dt]?frac", r"\\dfrac"),
    "tfrac": _sub(r"\\[dt]?frac", r"\\tfrac"),
    "a/b": _sub(r"(?<![\d}])(?<!\\sec )\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"(\1/\2)"),
    "a/b alone": lambda a: re.sub(r"^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$", r"\1\2/\3", a),
    "decimals": _half_as_decimal,
    "left right": _with_left_right,
    "without left right": _sub(r"\\(?:left|right)(?![A-Za-z])", ""),
    "thousands commas": _with_commas,
    "x =": lambda a: f"x = {a}" if _is_one_value(a) else a,
    "dollars": lambda a: f"${a}$",
    "display": lambda a: f"\\[{a}\\]",
    "parentheses of LaTeX": lambda a: f"\\({a}\\)",
    "spaces at signs": lambda a: a if "\\text" in a or "\\mbox" in a else re.sub(r"([-+])(?=\d)", r"\1 ", a),
    "wide spaces": lambda a: f"\\,{a}\\;",
    "full stop": lambda a: f"{a}.",
    "unit": lambda a: f"{a}\\text{{ units}}" if _is_number(a) else a,
    "plain unit": lambda a: f"{a} units" if _is_number(a) else a,
    "prose": lambda a: f"the answer is ${a}$",
    "degrees": lambda a: re.sub(r"\^\{?\\circ\}?", "°", a),
    "displaystyle": lambda a: f"\\displaystyle {a}",
    "cdot": _sub(r"(?<=\d)(?=\\(?:sqrt|pi))", r" \\cdot "),
    "unicode": lambda a: a.replace("\\pi", "π").replace("\\infty", "∞").replace("\\cup", "∪").replace("-", "−"),
    "plain root": _sub(r"\\sqrt\{(\d+)\}", r"sqrt(\1)"),
    "root without braces": _sub(r"\\sqrt\{(\d)\}(?!\d)", r"\\sqrt\1"),
    "text around words": lambda a: re.sub(r"\\text\{([A-Za-z ]+)\}", r"\\mbox{\1}", a),
}  # fmt: skip
FORMS = ("So it is $\\boxed{{{}}}$.", "<answer>{}</answer>", "so\n#### {}")


def rewritings(examples: list[Example]) -> dict[str, object]:
    """Per way of writing how many are accepted, of those that the way changes."""
    counts: dict[str, dict[str, int]] = {}
    faults = []
    for name, rewrite in REWRITINGS.items():
        right = total = 0
        for n, example in enumerate(examples):
            written = rewrite(example.answer)
            if written == example.answer and name != "as it is":
                continue
            score = VERIFIER.score(FORMS[n % 3].format(written.replace("\n", " ")), example.answer)
            total, right = total + 1, right + (score.value == 1.0)
            if score.value != 1.0:
                faults.append(f"{name}: {written!r} for {example.answer!r}: {score.detail}")
        counts[name] = {"right": right, "of": total}
        print(f"{name}: {right} of {total}", flush=True)
    right, total = sum(c["right"] for c in counts.values()), sum(c["of"] for c in counts.values())
    return {"ways": counts, "right": right, "of": total, "frac": right / total, "faults": faults}


# --- perturbations: another value, by the arithmetic of 50 digits ---

_PIECE = re.compile(r"\d+(?:\.\d+)?")


def perturbed(answer: str, rng: random.Random) -> Iterator[str]:
    """Texts that differ from an answer in one number, one sign or the order of a fraction."""
    pieces = list(_PIECE.finditer(answer))
    piece = rng.choice(pieces)
    digits = piece.group()

    def put(text: str) -> str:
        return answer[: piece.start()] + text + answer[piece.end() :]

    last = int(digits[-1])
    yield put(digits[:-1] + str((last + 1) % 10))
    yield put(digits[:-1] + str((last - 1) % 10))
    yield put(digits + rng.choice("0123456789"))
    yield put(rng.choice("123456789") + digits)
    yield put(digits + ("" if "." in digits else ".") + "000000001")
    yield "-" + answer if not answer.startswith("-") else answer[1:]
    yield re.sub(r"\\([dt]?)frac\{([^{}]*)\}\{([^{}]*)\}", r"\\\1frac{\3}{\2}", answer, count=1)
    yield answer.replace("+", "-", 1) if "+" in answer else answer.replace("-", "+", 1)
    yield put(f"{digits}\\pi")
    yield put(f"\\sqrt{{{digits}}}")
    yield f"{answer}+10^{{-30}}"
    yield f"{answer}+1"


def oracle(text: str) -> mpf | None:
    """The value of a LaTeX number with 50 digits, by a translation of its own; None for what it does not know."""
    text = re.sub(r",\\!|\\[,!;]|\s|\{,\}|\\left|\\right|\^\{?\\circ\}?|\\\$", "", text)
    text = re.sub(r"(?<=\d)\\[dt]?frac(?=\{)", "+frac" if not text.startswith("-") else "?", text)
    for _ in range(4):
        text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"\+frac\{([^{}]*)\}\{([^{}]*)\}", r"+((\1)/(\2))", text)
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r"q(\1)", text)
        text = re.sub(r"\\sqrt(\d)", r"q(\1)", text)
        text = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", text)
    text = text.replace("\\pi", "p")
    text = re.sub(r"(?<=[\dp)])(?=[pq(])|(?<=[p)])(?=\d)", "*", text)
    text = re.sub(r"\^(\d)", r"**\1", text)
    if not re.fullmatch(r"(?:[-+*/()pq]|\d+(?:\.\d+)?|\.\d+)*", text) or "//" in text or len(text) > 80:
        return None
    text = re.sub(r"\d+(?:\.\d+)?|\.\d+", lambda m: f"n('{m.group()}')", text)
    with mp.workdps(60):
        try:
            return mpf(
                eval(text, {"__builtins__": {}}, {"n": mpf, "q": mp.sqrt, "p": +mp.pi})
            )  # our own data
        except (SyntaxError, TypeError, ValueError, ZeroDivisionError):
            return None


def _differ(a: mpf, b: mpf) -> bool:
    with mp.workdps(50):
        return bool(abs(a - b) > abs(b) * mpf(10) ** -48)


def perturbations(examples: list[Example], number: int) -> dict[str, object]:
    """How many of `number` texts with another value are accepted; none may be."""
    rng = random.Random(0)
    known = [
        (e, value) for e in examples if _PIECE.search(e.answer) and (value := oracle(e.answer)) is not None
    ]
    accepted, checked, verdicts = [], 0, Counter[str]()
    while checked < number:
        example, value = rng.choice(known)
        for text in perturbed(example.answer, rng):
            other = oracle(text)
            if other is None or not _differ(other, value):
                continue
            detail = VERIFIER.score(f"\\boxed{{{text}}}", example.answer).detail or "right"
            checked += 1
            verdicts[detail] += 1
            accepted += [f"{text!r} for {example.answer!r}"] * (detail == "right")
    print(f"perturbations: {len(accepted)} of {checked} accepted", flush=True)
    return {"answers": len(known), "checked": checked, "verdicts": dict(verdicts), "accepted": accepted}


# --- hostile texts ---


def _roots(numbers: range) -> str:
    return ",".join(f"\\sqrt{{{n}}}" for n in numbers)


def hostile(marker: Path) -> dict[str, tuple[str, str]]:
    """name -> (completion, gold answer)"""
    touch = f"__import__('os').system('touch {marker}')"
    opened = f"open('{marker}','w').write('x')"
    return {
        "9^9^9^9": ("\\boxed{9^9^9^9}", "2"),
        "9^{9^{9^9}}": ("\\boxed{9^{9^{9^{9}}}}", "\\sqrt{2}"),
        "tower": ("\\boxed{2^{2^{2^{49}}}}", "7"),
        "binomial": ("\\boxed{\\binom{10^6}{5*10^5}}", "7"),
        "factorial": ("\\boxed{100000000!}", "7"),
        "factorials": ("\\boxed{9!!!!!!!!}", "7"),
        "sum": ("\\boxed{\\sum_{k=1}^{10^9} \\frac{1}{k}}", "7"),
        "product": ("\\boxed{\\prod_{k=1}^{10^6} k}", "\\pi"),
        "integral": ("\\boxed{\\int_0^1 \\sin(e^{x^x})^{x^x} dx}", "\\pi"),
        "braces": ("\\boxed{" + "{" * 10_000 + "1" + "}" * 10_000 + "}", "1"),
        "open braces": ("\\boxed{" + "{" * 10_000, "1"),
        "deep fractions": ("\\boxed{" + "\\frac{1}{" * 60 + "x" + "}" * 60 + "}", "x"),
        "parentheses": ("\\boxed{" + "(" * 63 + "x" + ")" * 63 + "^2}", "x"),
        "million digits": ("\\boxed{" + "9" * 10**6 + "}", "9"),
        "hundred thousand digits": ("\\boxed{" + "9" * 10**5 + "}", "9"),
        "many digits": ("\\boxed{" + "+".join(["9" * 250] * 12) + "}", "9"),
        "four hundred boxes": ("\\boxed{1}" * 400 + " \\boxed{7}", "7"),
        "open boxes": ("\\boxed{" * 400 + "7", "8"),
        "import": (f"\\boxed{{{touch}}}", "2"),
        "import as formula": (f"<answer>{touch}</answer>", "x^2"),
        "open": (f"<answer>{opened}</answer>", "\\sum_{k=1}^3 k"),
        "subclasses": ("<answer>().__class__.__bases__[0].__subclasses__()</answer>", "x"),
        "lambda": (f"<answer>(lambda: {opened})()</answer>", "\\int_0^1 x dx"),
        "sympify": (f"<answer>Symbol('x', {opened})</answer>", "x"),
        "text of LaTeX": (f"\\boxed{{\\text{{{touch}}}}}", "\\text{odd}"),
        "operator": (f"\\boxed{{\\operatorname{{{touch}}}(1)}}", "\\lim_{x \\to 0} x"),
        "write": (f"\\boxed{{\\immediate\\write18{{touch {marker}}}}}", "2"),
        "long list": ("\\boxed{" + ",".join(map(str, range(900))) + "}", "1,2"),
        "equal long lists": (f"\\boxed{{{_roots(range(60, 0, -1))}}}", _roots(range(1, 61))),
        "plus minus": ("\\boxed{" + "\\pm x" * 600 + "}", "x"),
        "minus signs": ("\\boxed{" + "-" * 4000 + "1}", "x"),
        "powers of powers": ("\\boxed{" + "x^" * 500 + "2}", "x"),
        "small power": ("\\boxed{10^{-10^{10}}}", "\\pi"),
        "sine of much": ("\\boxed{\\sin(10^{1000}\\pi)}", "0"),
        "exp of exp": ("\\boxed{\\exp(\\exp(\\exp(\\exp(5))))}", "\\pi"),
        "dollars": ("$" * 10**5, "1"),
        "answer is": ("the answer is " * 70_000, "1"),
        "spaces": ("\\boxed{1" + " " * 4000 + "2}", "12"),
        "a million characters": ("x" * 10**6, "x"),
        "two million characters": ("x" * (2 * 10**6), "x"),
        "zeros": ("\\boxed{\\frac{1}{0}}", "\\infty"),
        "not a number": ("\\boxed{\\infty-\\infty}", "0"),
        "surrogate": ("\\boxed{\ud800}", "x"),
        "null": ("\\boxed{\x00}", "x"),
    }  # fmt: skip


def attacks() -> dict[str, object]:
    """Verdict and time of each hostile text; memory of the workers, and whether any code ran."""
    rows, faults = {}, []
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "ran"
        for name, (text, gold) in hostile(marker).items():
            VERIFIER.warm_up()  # another worker stands where the one of the text before was killed
            start = time.perf_counter()
            score = VERIFIER.score(text, gold)
            took = time.perf_counter() - start
            rows[name] = {"value": score.value, "detail": score.detail, "seconds": round(took, 3)}
            if score.status != "ok" or took > 2.0:
                faults.append(f"{name}: {score} in {took:.2f} s")
        if marker.exists() or any(Path(folder).iterdir()):
            faults.append("code ran")
    pool.shared().close()  # what a process took is known when it has ended
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    slowest = max(rows, key=lambda name: rows[name]["seconds"])
    print(f"hostile: {len(rows)} texts, {len(faults)} faults, slowest {slowest} {rows[slowest]['seconds']} s")
    return {"texts": rows, "faults": faults, "peak_worker_mb": round(peak_mb)}


# --- speed ---


def speed(examples: list[Example]) -> dict[str, object]:
    """Warm checks of right and wrong answers: the median alone, and how many a second on all cores."""
    rng = random.Random(1)
    pairs = []
    for example in rng.sample(examples, min(1500, len(examples))):
        wrong = rng.choice(examples).answer
        pairs += [
            (f"\\boxed{{{REWRITINGS['tfrac'](example.answer)}}}", example.answer),
            (f"\\boxed{{{wrong}}}", example.answer),
        ]
    times = []
    for text, gold in pairs[:1000]:
        start = time.perf_counter()
        VERIFIER.score(text, gold)
        times.append(time.perf_counter() - start)
    needing = [(t, g) for t, g in pairs if re.search(r"sqrt|pi|x", g)]
    start = time.perf_counter()
    for text, gold in needing[:300]:
        VERIFIER.score(text, gold)
    in_worker = (time.perf_counter() - start) / max(len(needing[:300]), 1)
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        list(threads.map(lambda pair: VERIFIER.score(*pair), pairs))
    rate = len(pairs) / (time.perf_counter() - start)
    found = {
        "median_ms": round(1000 * statistics.median(times), 3),
        "mean_ms": round(1000 * statistics.fmean(times), 3),
        "mean_ms_of_formulas": round(1000 * in_worker, 3),
        "checks_per_s": round(rate),
        "cores": os.cpu_count(),
    }
    print(json.dumps(found), flush=True)
    return found


def main() -> int:
    """Runs all parts and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--perturbations", type=int, default=50_000)
    arguments = parser.parse_args()
    task = Math(path=arguments.path, skip_unanswered=True)
    examples = [*task.load("train"), *task.load("test")]
    VERIFIER.warm_up()
    report: dict[str, object] = {"answers": len(examples)}
    self_match = sum(VERIFIER.score(f"\\boxed{{{e.answer}}}", e.answer, e).value == 1.0 for e in examples)
    report["self_match"] = self_match
    written, changed = rewritings(examples), perturbations(examples, arguments.perturbations)
    report |= {
        "rewritings": written,
        "perturbations": changed,
        "hostile": attacks(),
        "speed": speed(examples),
    }
    report["workers"] = dict(pool.shared().counts)
    print(json.dumps(report, indent=1, ensure_ascii=True))
    attacked = report["hostile"]
    assert isinstance(attacked, dict) and isinstance(written["frac"], float)
    bad = self_match < len(examples) or written["frac"] < 0.995 or changed["accepted"] or attacked["faults"]
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
