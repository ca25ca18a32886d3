"""Tables and CSV."""

import csv

import pytest

from whet.evals.metrics import metrics_of
from whet.evals.report import metrics_table, sweep_table, write_sweep_csv
from whet.evals.sweep import SweepRow


@pytest.fixture
def rows(record):
    good = metrics_of([record(f"p{i}", value=float(i < 3)) for i in range(4)])
    return [
        SweepRow(checkpoint="10", step=10, metrics=good, seconds=2.0),
        SweepRow(checkpoint="final", step=None, metrics={}, error="not done after 5 s", seconds=5.0),
    ]


def test_a_table_of_metrics_shows_value_interval_and_counts(record):
    table = metrics_table(
        metrics_of([record(f"p{i}", value=float(i < 3), tags={"op": "add"}) for i in range(4)]), "demo"
    )
    (line,) = [line for line in table.splitlines() if line.strip().startswith("pass@1")]
    # Wilson for 3 of 4: centre (0.75 + z^2/8) / (1 + z^2/4) = 0.62753, half 0.32688 (z^2 = 3.841459)
    assert line.split() == ["pass@1", "0.7500", "0.3006", "..", "0.9544", "4", "4"]
    assert "demo" in table
    assert "tag/op=add/pass@1" in table
    assert "tag/" not in metrics_table(metrics_of([record(tags={"op": "add"})]), tags=False)


def test_a_table_of_a_sweep_names_what_failed(rows):
    lines = sweep_table(rows).splitlines()
    (header,) = [line for line in lines if "checkpoint" in line]
    assert header.split() == [
        "checkpoint",
        "pass@1",
        "truncated_frac",
        "answered_frac",
        "mean_length",
        "seconds",
    ]
    (line,) = [line for line in lines if line.split()[:1] == ["10"]]
    assert line.split() == ["10", "0.7500", "[0.3006,", "0.9544]", "0.0000", "1.0000", "2.0000", "2"]
    assert lines[-1] == "final: not done after 5 s"


def test_the_csv_of_a_sweep_has_every_number(rows, tmp_path):
    with write_sweep_csv(rows, tmp_path / "plots" / "sweep.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["pass@1"]) == 0.75
    assert float(first["pass@1_low"]) == pytest.approx(0.3006, abs=1e-4)
    assert (first["checkpoint"], first["step"], first["error"]) == ("10", "10", "")
    assert (second["error"], second["pass@1"]) == ("not done after 5 s", "")
