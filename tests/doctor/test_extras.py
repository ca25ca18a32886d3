"""Extras are those of the installed package's own list."""

from email.message import Message

import pytest

from whet.doctor import extras

VERSIONS = {"here": "2.1", "old": "1.0"}


@pytest.fixture
def installed(monkeypatch):
    """A package whet with these requirements, and what is there of them."""

    def version(name):
        if name not in VERSIONS:
            raise extras.metadata.PackageNotFoundError(name)
        return VERSIONS[name]

    about = Message()
    for name in ("some", "none", "all"):
        about["Provides-Extra"] = name
    monkeypatch.setattr(extras.metadata, "metadata", lambda name: about)
    monkeypatch.setattr(extras.metadata, "version", version)
    monkeypatch.setattr(
        extras.metadata,
        "requires",
        lambda name: [
            "missing-but-no-extra>=1",
            "here>=2; extra == 'all'",
            "elsewhere>=1; sys_platform == 'nowhere' and extra == 'all'",
            "here>=2; extra == 'some'",
            "gone[more]>=3; extra == 'some'",
            "old>=1.5; extra == 'none'",
        ],
    )


def test_an_extra_lacks_what_is_missing_or_too_old_and_nothing_else(installed):
    assert extras.lacks("all") == []
    assert extras.lacks("some") == ["gone"]
    assert extras.lacks("none") == ["old>=1.5 (there is 1.0)"]


def test_every_extra_has_a_row_with_the_command_and_only_a_wrong_version_is_a_warning(installed):
    rows = {row.what: row for row in extras.findings()}
    assert list(rows) == ["extra all", "extra none", "extra some"]
    assert (rows["extra all"].status, rows["extra all"].found, rows["extra all"].next_step) == (
        "OK",
        "installed",
        "",
    )
    assert (rows["extra some"].status, rows["extra some"].found) == ("OK", "lacks gone")
    assert rows["extra some"].next_step == "to use it, in whet's folder: pip install '.[some]'"
    assert rows["extra none"].status == "WARN"
