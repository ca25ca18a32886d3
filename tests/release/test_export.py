"""What is exported is the policy: transformers and peft themselves say so."""

import importlib.util
import json
import re

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from checkpoints import tiny_checkpoint
from trained_adapter import SYSTEM, adapter_run
from whet import train
from whet.errors import ConfigError
from whet.release.card import model_card
from whet.release.directory import filled
from whet.release.export import export, merge
from whet.release.model_files import write_model
from whet.runs.directory import RunDirectory
from whet.runs.trained import Trained

TEXTS = ("1+2=", "9+9=18", "3")


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0]


@pytest.fixture(scope="module")
def adapter() -> Trained:
    return Trained.load(adapter_run(), device="cpu")


@pytest.fixture(scope="module")
def gpt(tiny_run) -> Trained:
    return Trained.load(RunDirectory(tiny_run), device="cpu")


# --- from-scratch policies ---


def test_a_gpt_from_scratch_reloads_as_gpt2_with_the_same_logits_and_ids(gpt, tmp_path):
    model, tokenizer = load(export(gpt.run, None, "hf", tmp_path / "out"))
    assert type(model).__name__ == "GPT2LMHeadModel"
    for text in TEXTS:
        ids = gpt.policy.tokenizer.encode(text)
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text
        module = gpt.policy.module
        with torch.no_grad():
            ours = module.logits(module(torch.tensor([ids])))[0]
        assert torch.allclose(logits_of(model, ids), ours, atol=1e-5, rtol=0)


def test_a_text_that_names_the_end_of_text_is_spelled_out_as_in_whet(tmp_path, tiny_config):
    sizes = {**tiny_config["policy"], "tokenizer": "bpe", "vocab_size": 300}
    config = {**tiny_config, "policy": sizes, "max_steps": 1, "warm_start": None, "eval": {"at_start": False}}
    run = train(config, runs_root=str(tmp_path / "runs"))
    _, tokenizer = load(export(run.directory, None, "hf", tmp_path / "out"))
    text = "é <|endoftext|> 12"
    assert tokenizer.encode(text) == run.policy.policy.tokenizer.encode(text)
    assert 0 not in tokenizer.encode(text)
    assert tokenizer.eos_token_id == 0


def test_an_earlier_checkpoint_is_exported_with_its_own_weights_and_says_so(gpt, tmp_path):
    first, _ = load(export(gpt.run, "0", "hf", tmp_path / "first"))
    last, _ = load(export(gpt.run, None, "hf", tmp_path / "last"))
    assert not torch.equal(first.transformer.wte.weight, last.transformer.wte.weight)
    text = "These figures are of the end of the run; the weights here are of step 0."
    assert text in (tmp_path / "first/README.md").read_text()
    assert text not in (tmp_path / "last/README.md").read_text()


def test_nothing_is_merged_where_there_is_no_adapter(gpt, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no adapter to merge: .* Take it out with whet export"):
        merge(gpt.run, None, tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"no adapter: its whole model was trained. Take it with --format hf"
    ):
        export(gpt.run, None, "adapter", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- adapters ---


@pytest.mark.parametrize("how", ["merge", "export"])
def test_a_merged_adapter_reloads_with_the_same_logits(adapter, tmp_path, how):
    out = (
        merge(adapter.run, None, tmp_path / "out")
        if how == "merge"
        else export(adapter.run, out=tmp_path / "out")
    )
    model, tokenizer = load(out)
    base = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("qwen2")).eval()
    for text in TEXTS:
        ids = tokenizer.encode(text)
        ours = logits_of(adapter.policy.module, ids)
        assert torch.allclose(logits_of(model, ids), ours, atol=1e-5, rtol=0)
        assert (logits_of(base, ids) - ours).abs().max() > 1e-3  # the adapter says something
    assert not list(out.glob("adapter_*"))


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra quant is not installed"
)
def test_an_adapter_over_4_bits_is_exported_unpacked_with_the_same_logits(tmp_path):
    trained = Trained.load(adapter_run("4bit"), device="cpu")
    model, tokenizer = load(export(trained.run, out=tmp_path / "out"))
    assert model.dtype == torch.float32 and not hasattr(model.config, "quantization_config")
    ids = tokenizer.encode("1+2=")
    ours = logits_of(trained.policy.module, ids)
    assert torch.allclose(logits_of(model, ids), ours, atol=1e-5, rtol=0)


def test_an_exported_adapter_loads_in_plain_peft_with_the_same_logits(adapter, tmp_path):
    out = export(adapter.run, None, "adapter", tmp_path / "out")
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_checkpoint("qwen2")), out
    ).eval()
    ids = adapter.policy.tokenizer.encode("1+2=")
    ours = logits_of(adapter.policy.module, ids)
    assert torch.allclose(logits_of(model, ids), ours, atol=1e-5, rtol=0)


def test_chat_template_and_end_of_text_come_along(adapter, tmp_path):
    out = export(adapter.run, None, "hf", tmp_path / "out")
    asked = [{"role": "user", "content": "1+2="}]
    theirs = AutoTokenizer.from_pretrained(tiny_checkpoint("qwen2"))
    assert AutoTokenizer.from_pretrained(out).apply_chat_template(asked) == theirs.apply_chat_template(asked)
    ends = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert set(ends if isinstance(ends, list) else [ends]) <= adapter.policy.tokenizer.stop_ids


def test_the_template_of_the_training_takes_the_place_of_the_tokenizers(adapter, tmp_path):
    write_model(adapter.policy, tmp_path, "{{ messages[0].content }}!")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    asked = [{"role": "user", "content": "1+2="}]
    assert tokenizer.apply_chat_template(asked, tokenize=False) == "1+2=!"


# --- the card ---


def card_of(trained, tmp_path, kind="hf"):
    text = (export(trained.run, None, kind, tmp_path / "out") / "README.md").read_text()
    front, body = re.fullmatch(r"---\n(.*?)---\n(.*)", text, re.DOTALL).groups()
    return yaml.safe_load(front), body


def test_the_card_tells_data_reward_training_and_accuracy_with_intervals(gpt, tmp_path):
    front, body = card_of(gpt, tmp_path)
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["whet", "reinforcement-learning", "dr-grpo"],
    }
    found = gpt.run.summary()["eval"]
    cells = [
        f"{e['pass@1']:.1%} [{e['ci95'][0]:.1%}, {e['ci95'][1]:.1%}]"
        for e in (found["before"], found["after"])
    ]
    assert f"| sampled | {cells[0]} | {cells[1]} |" in body
    facts = [
        "over 8 problems of `arithmetic`",
        "name: numeric",
        "max_operand: 9",
        "| step | 2 of 2 |",
        "| seed | 0 |",
        "`dr_grpo`",
        "whet 0.2.0",
        "random weights",
        "add `license:` above",
    ]
    for said in facts:
        assert said in body, said


def test_the_card_of_an_adapter_names_its_base_and_no_place_on_this_machine(adapter, tmp_path):
    front, body = card_of(adapter, tmp_path, "adapter")
    base = tiny_checkpoint("qwen2")
    assert front["library_name"] == "peft"
    assert "base_model" not in front  # a directory is no name on the Hub
    assert f"from `{base.name}` by supervised fine-tuning, through a LoRA adapter" in body
    assert "| adapter | LoRA, rank 4, alpha 8 |" in body
    assert f"```text\n{SYSTEM}\n```" in body
    assert "PeftModel.from_pretrained" in body
    assert str(base.parent) not in body and str(adapter.run.path.parent) not in body


def test_a_base_from_the_hub_is_named_in_the_front_matter(adapter, tmp_path):
    settings = adapter.policy.settings
    adapter.policy.settings = settings.model_copy(update={"model": "Qwen/Qwen2.5-0.5B"})
    try:
        card = model_card(adapter, "me/mine", True)
    finally:
        adapter.policy.settings = settings
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["base_model"], front["base_model_relation"]) == ("Qwen/Qwen2.5-0.5B", "adapter")


# --- the directory ---


def test_a_directory_with_something_in_it_is_not_written_to_without_force(gpt, tmp_path):
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty: name another directory in --out, or .* --force"):
        export(gpt.run, None, "hf", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "config.json").write_text("old")
    export(gpt.run, None, "hf", tmp_path, force=True)
    assert mine.read_text() == "mine"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "gpt2"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), filled(tmp_path / "out", force=False) as place:
        (place / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_default_place_is_named_after_run_and_checkpoint(gpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(export(gpt.run)) == f"exports/{gpt.run.name}-step_000002"
