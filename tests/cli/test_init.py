"""`whet init`: where the files go, and what to type next."""


def test_it_says_what_it_wrote_and_what_to_do_next(whet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = whet("init", "my job")
    assert ended.code == 0
    assert "my job/my_reward.py" in ended.out.splitlines()
    assert [line.strip().partition("  ")[0] for line in ended.out.partition("next\n")[2].splitlines()] == [
        "cd 'my job'",
        "whet train config.yaml",
        "README.md",
    ]


def test_in_the_working_directory_there_is_nowhere_to_go(whet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "cd " not in whet("init", ".").out


def test_a_second_time_nothing_is_overwritten_without_force(whet, tmp_path):
    whet("init", tmp_path)
    (tmp_path / "my_reward.py").write_text("mine")
    ended = whet("init", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "add --force to replace these files" in ended.err
    assert (tmp_path / "my_reward.py").read_text() == "mine"
    assert whet("init", tmp_path, "--force").code == 0
    assert (tmp_path / "my_reward.py").read_text() != "mine"
