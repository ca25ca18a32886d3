"""The model card of a run: what it was trained on, for which reward, how, and how well it does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from whet import keys
from whet.registry import Plugin
from whet.runs.policy import has_adapter
from whet.runs.trained import Trained
from whet.yaml_source import to_text

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_KINDS = (
    ("sampled", "pass@1", "ci95"),
    ("greedy", "greedy", "greedy_ci95"),
    ("nats per token", "nll", "nll_ci95"),
)


def model_card(trained: Trained, title: str, is_adapter: bool) -> str:
    """Markdown with YAML front matter. The licence is left to the person who publishes."""
    parts = [
        f"# {title}",
        _opening(trained),
        f"## Evaluation\n\n{_evaluation(trained)}",
        f"## Data\n\n{_settings(trained.config.task, leave_out=('verifier',))}",
        f"## Reward\n\n{_reward(trained)}",
        f"## Training\n\n{_training(trained)}",
        f"## Prompt\n\n{_prompt(trained)}",
        f"## Use\n\n{_use(title, _base(trained) if is_adapter else None)}",
        f"## Licence\n\n{_licence(trained)}",
    ]
    return keys.hide(f"---\n{_front_matter(trained, is_adapter)}---\n\n" + "\n\n".join(parts) + "\n")


def _front_matter(trained: Trained, is_adapter: bool) -> str:
    base, config = _base(trained), trained.config
    facts: dict[str, Any] = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["whet", *_method(trained)],
    }
    if base is not None and _is_on_hub(base):
        facts |= {"base_model": base, "base_model_relation": "adapter" if is_adapter else "finetune"}
    data = str(getattr(config.task, "path", None)).partition(":")[0]
    if _is_on_hub(data):
        facts["datasets"] = [data]
    return to_text(facts)


def _method(trained: Trained) -> list[str]:
    if trained.config.stage == "sft":
        return ["sft"]
    return ["reinforcement-learning", str(trained.config.algorithm.name).replace("_", "-")]


def _opening(trained: Trained) -> str:
    config, base = trained.config, _base(trained)
    start = "a model with random weights" if base is None else f"`{base}`"
    how = "supervised fine-tuning" if config.stage == "sft" else f"`{config.algorithm.name}`"
    kind = ", through a LoRA adapter" if has_adapter(trained.policy) else ""
    return (
        f"Trained from {start} by {how}{kind} on the task `{config.task.name}` with whet {version('whet')}. These are "
        f"the weights of {_step(trained)} of the run `{trained.run.name}`."
    )


def _evaluation(trained: Trained) -> str:
    summary = trained.run.summary()
    evals = summary.get("eval", {})
    times = [time for time in ("before", "after") if time in evals]
    rows = [
        [label, *(_interval(evals[t], value, ends) for t in times)]
        for label, value, ends in _KINDS
        if any(value in evals[t] for t in times)
    ]
    if not rows:
        return "The run was not evaluated."
    last, settings = evals[times[-1]], trained.config.eval
    task, split = summary.get("eval_task", trained.config.task.name), summary.get("eval_split", "test")
    lines = [
        f"Right answers over {last.get('n', '?')} problems of `{task}`, split `{split}`, with 95% intervals. Sampled: "
        f"{settings.num_samples} per problem at temperature {settings.temperature:g}.",
        "",
        _table(["", *(f"{t} training" for t in times)], rows),
    ]
    if overlap := last.get("overlap"):
        lines += ["", f"{overlap} of these questions were trained on."]
    if _step(trained) != f"step {summary.get('steps')}":
        lines += ["", f"These figures are of the end of the run; the weights here are of {_step(trained)}."]
    return "\n".join(lines)


def _interval(found: Mapping[str, Any], value: str, ends: str) -> str:
    if value not in found:
        return ""
    form = "{:.3f}" if value == "nll" else "{:.1%}"
    mean, *both = (form.format(x) for x in (found[value], *found[ends]) if x is not None)
    return f"{mean} [{', '.join(both)}]" if len(both) == 2 else mean


def _reward(trained: Trained) -> str:
    task = trained.config.task
    if trained.config.stage == "sft":
        return "None: demonstrations were imitated."
    return _settings(task.verifier or task.default_verifier())


def _training(trained: Trained) -> str:
    config, summary = trained.config, trained.run.summary()
    facts = [
        ("step", f"{_step(trained).removeprefix('step ')} of {summary.get('max_steps', config.max_steps)}"),
        ("seed", str(config.seed)),
        ("prompts per step", str(config.batch.prompts_per_step)),
        ("learning rate", f"{config.optimizer.learning_rate:g}"),
    ]
    if config.stage == "rl":
        facts[2:2] = [("algorithm", f"`{config.algorithm.name}`")]
        facts += [
            ("completions per prompt", str(config.batch.num_generations)),
            ("sampling temperature", f"{config.sampling.temperature:g}"),
            ("longest completion", f"{config.sampling.max_completion_length} tokens"),
        ]
    if has_adapter(trained.policy):
        lora = cast(Any, trained.policy).settings.lora
        facts.append(("adapter", f"LoRA, rank {lora.r}, alpha {lora.alpha:g}"))
    if config.warm_start is not None:
        facts.append(("warm start", f"at most {config.warm_start.steps} supervised steps"))
    if config.init_from is not None:
        facts.append(("started from", f"`{Path(config.init_from).name}` of another run"))
    facts.append(("state of the run", str(summary.get("state", "unknown"))))
    table = _table(["setting", "value"], [list(fact) for fact in facts])
    changed = _settings(config.algorithm) if config.stage == "rl" else ""
    return f"{table}\n\nThe algorithm's settings:\n\n{changed}" if changed else table


def _prompt(trained: Trained) -> str:
    prompt, tokenizer = trained.config.prompt, trained.policy.tokenizer
    is_chat = tokenizer.chat_template is not None or prompt.template is not None
    if prompt.chat is False or not is_chat:
        return "Plain text, without a chat template."
    said = "Prompts are conversations, written by the chat template that comes with the tokenizer."
    if prompt.system is not None:
        said += f" They open with the system message:\n\n```text\n{prompt.system}\n```"
    if prompt.chat_template_kwargs:
        said += f"\n\nVariables of the template: `{prompt.chat_template_kwargs}`."
    return said


def _use(title: str, base: str | None) -> str:
    """base: of an adapter."""
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if base is None:
        lines += [f'model = AutoModelForCausalLM.from_pretrained("{title}")']
    else:
        lines[:0] = ["from peft import PeftModel"]
        lines += [
            f'base = AutoModelForCausalLM.from_pretrained("{base}")',
            f'model = PeftModel.from_pretrained(base, "{title}")',
        ]
    lines.append(f'tokenizer = AutoTokenizer.from_pretrained("{title}")')
    return "```python\n" + "\n".join(lines) + "\n```"


def _licence(trained: Trained) -> str:
    base = _base(trained)
    bound = "" if base is None else f" The licence of `{base}` binds what is made from it."
    return (
        f"Not chosen yet: add `license:` above before you publish.{bound} The data may have terms of its own."
    )


def _settings(plugin: Plugin, leave_out: Iterable[str] = ()) -> str:
    """A plug-in's settings as YAML, its name first."""
    values = {k: _public(v) for k, v in plugin.model_dump(mode="json").items() if k not in leave_out}
    return f"```yaml\n{to_text({'name': values.pop('name'), **values})}```"


def _base(trained: Trained) -> str | None:
    """What the weights began as: a Hub name, or the last part of a path; None for random weights."""
    found = getattr(getattr(trained.policy, "settings", None), "model", None)
    return None if found is None else _public(str(found))


def _public(value: Any) -> Any:
    """The last part of a path of this machine: where it lies is nobody's business. Anything else as it is."""
    is_path = isinstance(value, str) and (value.startswith(("/", "~", "./", "../")) or Path(value).is_dir())
    return Path(value).name if is_path else value


def _is_on_hub(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


def _step(trained: Trained) -> str:
    number = re.match(r"step_(\d+)", trained.checkpoint.resolve().name)
    return f"step {int(number[1])}" if number else trained.checkpoint.name


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
