"""`whet export` and `whet merge` as they are typed."""

from trained_adapter import adapter_run


def test_export_says_where_the_files_are(whet, tiny_run, tmp_path):
    ended = whet("export", f"{tiny_run}:1", "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (0, f"exported to {tmp_path / 'out'}\n")
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "README.md",
    } <= names


def test_merge_says_where_the_model_is(whet, tmp_path):
    ended = whet("merge", adapter_run().path, "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (0, f"merged model in {tmp_path / 'out'}\n")
    assert (tmp_path / "out/model.safetensors").is_file()


def test_a_full_directory_ends_it_with_what_to_do(whet, tiny_run, tmp_path):
    (tmp_path / "mine").write_text("x")
    ended = whet("export", tiny_run, "--out", tmp_path)
    assert ended.code == 2
    assert "or overwrite with --force" in ended.err


def test_public_needs_a_repository(whet, tiny_run):
    ended = whet("export", tiny_run, "--public")
    assert ended.code == 2
    assert "--public goes with --to-hub" in ended.err
