"""Free memory and disk."""

import os

import pytest

from whet.doctor import machine


def test_free_memory_is_some_of_the_memory():
    free, total = machine.memory_bytes()
    assert 0 < free <= total


def test_a_containers_limit_counts_where_it_is_lower(tmp_path, monkeypatch):
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("1000\n")
    used.write_text("400\n")
    monkeypatch.setattr(machine, "CGROUPS", ((str(limit), str(used)),))
    assert machine.memory_bytes() == (600, 1000)


@pytest.mark.parametrize("text", ["max\n", str(1 << 60)])
def test_a_limit_that_is_none_or_above_the_machine_does_not_count(tmp_path, monkeypatch, text):
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text(text)
    used.write_text("400\n")
    monkeypatch.setattr(machine, "CGROUPS", ((str(limit), str(used)),))
    assert machine.memory_bytes()[1] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_place_of_a_directory_that_will_be_made_is_the_nearest_one_there(tmp_path):
    assert machine.existing(tmp_path / "a" / "b") == tmp_path
    assert machine.disk_bytes(tmp_path / "a" / "b") > 0


def test_bytes_are_told_in_powers_of_1000():
    assert [machine.size(n) for n in (12, 1_600_000, 22_700_000_000)] == ["12 B", "1.6 MB", "22.7 GB"]
