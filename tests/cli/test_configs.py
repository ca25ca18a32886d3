"""`whet configs` and `whet schema`: what ships, as text for people and as JSON for programs."""

import json

import pytest

from whet import shipped
from whet.config import load_config


def test_the_list_tells_what_can_be_run_from_what_changes_another_config(whet):
    runnable, overlays = whet("configs").out.split("\n\n")
    assert "arithmetic" in [line.split()[0] for line in runnable.splitlines()[1:]]
    found = [line.split()[0] for line in overlays.splitlines()[1:]]
    assert {"smoke", "overnight"} <= set(found)
    assert not set(found) & {line.split()[0] for line in runnable.splitlines()[1:]}


def test_every_shipped_config_is_listed_with_what_its_first_comment_says(whet):
    rows = {row["name"]: row for row in whet("configs", "--json").json}
    assert sorted(rows) == shipped.names()
    assert rows["smoke"] == {
        "name": "smoke",
        "overlay": True,
        "about": "Overlay: two steps of any job, a checkpoint after each",
    }
    assert all(row["about"] for row in rows.values())
    assert all(row["about"].startswith("Overlay: ") == row["overlay"] for row in rows.values())


def test_a_printed_config_is_a_copy_to_edit(whet, tmp_path):
    (tmp_path / "mine.yaml").write_text(whet("configs", "debug").out)
    assert load_config([tmp_path / "mine.yaml"]) == load_config(["debug"])


def test_a_name_that_does_not_ship_is_refused_with_those_that_do(whet):
    ended = whet("configs", "arithmetik")
    assert (ended.code, ended.out) == (2, "")
    assert "no config of the name 'arithmetik' ships with whet. There are: arithmetic, debug" in ended.err


def test_an_overlay_shortens_the_job_before_it(whet):
    ended = whet("train", "debug", "smoke", "--dry-run")
    assert "\nmax_steps: 2\n" in ended.out


def test_an_overlay_alone_is_refused_with_the_way_to_use_it(whet, tmp_path):
    ended = whet("train", "smoke", f"runs_root={tmp_path}/runs")
    assert (ended.code, ended.out) == (2, "")
    assert "such as `arithmetic smoke`" in ended.err


@pytest.mark.parametrize("name", shipped.names())
def test_each_name_in_a_folder_is_found_by_its_file(name):
    assert shipped.name_of(f"configs/{name}.yaml") == name


def test_the_schema_is_json_and_nothing_else(whet):
    ended = whet("schema")
    assert ended.code == 0
    assert json.loads(ended.out)["properties"]["max_steps"]
