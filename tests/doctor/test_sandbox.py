"""What `whet check` says of the sandbox."""

from whet.doctor import sandbox as doctor
from whet.errors import WhetError


def test_a_sandbox_that_holds_is_ok():
    [row] = doctor.findings()
    assert (row.what, row.status) == ("sandbox", "OK")
    assert row.found.startswith("Landlock ")


def test_one_that_lets_a_program_out_fails(monkeypatch):
    monkeypatch.setitem(doctor._FORBIDDEN, "its own memory", "x = 1")
    [row] = doctor.findings()
    assert (row.status, row.found) == ("FAIL", "a program reached its own memory")


def test_one_that_cannot_be_built_is_a_warning(monkeypatch):
    def refuse(code):
        raise WhetError("this kernel offers no Landlock. More")

    monkeypatch.setattr(doctor.sandbox, "run_python", refuse)
    [row] = doctor.findings()
    assert (row.status, row.found) == ("WARN", "this kernel offers no Landlock")
