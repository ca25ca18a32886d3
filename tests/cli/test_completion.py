"""What a shell is offered when TAB is pressed, asked as its script asks."""

import pytest

from whet.cli import main


@pytest.fixture
def offered(capsys, monkeypatch):
    """The words offered for the last one of a line."""

    def run(line):
        words = line.split(" ")
        monkeypatch.setenv("_WHET_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.delenv("WHET_RUNS", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.split()

    return run


def test_verbs(offered):
    assert offered("whet sh") == ["show"]


def test_shipped_configs(offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert offered("whet train arith") == ["arithmetic"]
    assert "smoke" in offered("whet train arithmetic sm")


def test_yaml_files_and_folders_of_the_working_directory(offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("zebra.yaml", "zebra.py", "zeta/inner.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert offered("whet train ze") == ["zebra.yaml", "zeta/"]
    assert offered("whet train zeta/") == ["zeta/inner.yaml"]


def test_runs_newest_first_and_latest(offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run_2026-01-01_00-00-00", "run_2026-01-02_00-00-00"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "summary.json").write_text("{}")
    assert offered("whet show run_") == ["run_2026-01-02_00-00-00", "run_2026-01-01_00-00-00"]
    assert offered("whet show l") == ["latest"]
    assert offered("whet eval --runs-root nowhere run_") == []
