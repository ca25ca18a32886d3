"""`whet smoke`: the list, and the exit code."""

import pytest

from whet.training.smoke import Check

PASSED = Check("train", True, "2 steps in 1.0 s")
FAILED = Check("links", False, "step_final: no link", "make one")
NOT_REACHED = Check("resume", None, "not reached")


@pytest.fixture
def ended_with(monkeypatch, whet, tmp_path):
    def run(checks, *arguments):
        def smoke(config, keep, on_check=lambda check: None, on_begin=lambda name: None):
            for check in checks:
                on_begin(check.name)
                on_check(check)
            return checks, None if all(c.ok for c in checks) else tmp_path

        monkeypatch.setattr("whet.training.smoke.smoke", smoke)
        return whet("smoke", "debug", *arguments)

    return run


def test_what_works_is_ticked(ended_with):
    ended = ended_with([PASSED])
    assert (ended.code, ended.out) == (0, "✓ train        2 steps in 1.0 s\n\nall works\n")


def test_what_fails_has_a_reason_a_next_step_and_exit_code_1(ended_with, tmp_path):
    ended = ended_with([PASSED, FAILED, NOT_REACHED])
    assert ended.code == 1
    assert ended.out.splitlines()[1:] == [
        "✗ links        step_final: no link",
        "               next: make one",
        "- resume       not reached",
        "",
        "something failed: mend it before the long run",
        f"kept in {tmp_path}",
    ]


def test_json_has_every_check(ended_with, tmp_path):
    ended = ended_with([PASSED, FAILED], "--json")
    assert ended.code == 1
    assert (ended.json["ok"], ended.json["kept"]) == (False, str(tmp_path))
    assert ended.json["checks"][1] == {
        "name": "links",
        "ok": False,
        "detail": FAILED.detail,
        "advice": "make one",
    }


@pytest.mark.parametrize("arguments", [("max_steps=3",), ("smoke",), ("arithmetik",)])
def test_a_mistake_ends_before_anything_is_tried(whet, arguments):
    ended = whet("smoke", *arguments)
    assert (ended.code, ended.out) == (2, "")
