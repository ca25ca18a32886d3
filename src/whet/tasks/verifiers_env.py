"""Task sets of the library `verifiers` (0.4): its questions and rewards, sampled and trained by whet."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from pydantic import Field

from whet.errors import ConfigError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._conversation import asked_and_answered, turns_of
from whet.tasks._rows import Row
from whet.tasks._split import split_by_question
from whet.types import Example, Score


class VerifiersEnv(Task):
    """An installed task set of one question and one answer, scored by its own `@reward` methods and judges.

    What needs more than the text of the answer is refused: tools, several agents, rewards or a setup that ask for a
    runtime. A hash of each question decides its side of the split.
    """

    taskset: str
    """The installed package, such as `gsm8k` or `owner/gsm8k`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The task set's own settings."""
    num_tasks: int | None = Field(default=None, ge=1)
    """Load the first ones only; an endless task set needs it."""
    test_frac: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the questions kept for testing."""

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the task set."""
        return self._splits[split]

    def default_verifier(self) -> Verifier:
        """The rewards of the task set."""
        return self._rewards

    @cached_property
    def _tasks(self) -> Mapping[str, Any]:
        vf = _library()
        found = vf.load_taskset(
            vf.taskset_config_type(self.taskset).model_validate({**self.settings, "id": self.taskset})
        )
        if self.num_tasks is None and not found.bounded:
            raise ConfigError(f"the task set {self.taskset} has no end: say how much of it in task.num_tasks")
        tasks = list(found if self.num_tasks is None else found.take(self.num_tasks))
        if needs := _beyond_text(vf, self.taskset, found, tasks):
            raise ConfigError(f"the task set {self.taskset} {needs}, and whet scores the text of one answer")
        return {f"{self.taskset}/{n}": task for n, task in enumerate(tasks)}

    @cached_property
    def _splits(self) -> dict[Split, tuple[Example, ...]]:
        return split_by_question([_example(i, t.data) for i, t in self._tasks.items()], self.test_frac)

    @cached_property
    def _rewards(self) -> _Rewards:
        return _Rewards(env=self)


class _Rewards(Verifier):
    env: VerifiersEnv

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        if example is None:
            raise ValueError("a task set scores an answer to one of its questions: give the example")
        task = self.env._tasks[example.id]
        trace = _trace(task, example, text)
        with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own in this one
            thread.submit(asyncio.run, task.score(trace)).result()
        parts = {name: math.nan if r is None else float(r.score) for name, r in trace.rewards.items()}
        if not parts or not all(map(math.isfinite, parts.values())):
            return Score.failed("invalid", f"{example.id}: expected finite rewards, found {parts}")
        return Score(value=float(trace.reward), parts=parts)


def _library() -> Any:
    try:
        import verifiers.v1
    except ImportError as error:
        raise ConfigError(
            f"task sets need the package verifiers, in an environment of its own ({error}): "
            "pip install whet 'verifiers>=0.4,<0.5'"
        ) from None
    return verifiers.v1


def _beyond_text(vf: Any, name: str, taskset: Any, tasks: Sequence[Any]) -> str:
    """What scoring a text cannot give to a task set; empty when a text is all it needs."""
    if not tasks:
        return "is empty"
    task = tasks[0]
    if vf.environment_class(name) is not vf.SingleAgentEnv:
        return "has an environment of its own"
    if type(taskset).toolsets(taskset.config) or type(task).toolsets(task.config):
        return "has tools"
    if type(task).NEEDS_CONTAINER or type(task).setup is not vf.Task.setup:
        return "prepares a runtime"
    asking = [f.__name__ for f in task.hooks("reward") if _needs_runtime(f)]
    return f"asks for a runtime in {', '.join(asking)}" if asking else ""


def _needs_runtime(reward: Any) -> bool:
    parameter = inspect.signature(reward).parameters.get("runtime")
    return parameter is not None and parameter.default is parameter.empty


def _example(example_id: str, data: Any) -> Example:
    fields = data.model_dump(mode="json")
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    asked = (
        [{"role": "user", "content": data.prompt}] if isinstance(data.prompt, str) else fields["prompt"] or []
    )
    row = Row(fields={"prompt": [*system, *asked]}, where=example_id)
    messages, _ = asked_and_answered(row, "prompt")
    answer = fields.get("answer")
    return Example(
        id=example_id,
        prompt=messages[-1]["content"],
        answer=answer if isinstance(answer, str) else "",
        messages=messages if len(messages) > 1 else (),
        columns={**fields, "question": turns_of(messages)},
    )


def _trace(task: Any, example: Example, text: str) -> Any:
    """The run of an agent that answered once."""
    from verifiers.v1.state import state_cls

    vf = _library()
    asked = example.messages or ({"role": "user", "content": example.prompt},)
    said = [*asked, {"role": "assistant", "content": text}]
    nodes = [
        vf.MessageNode(message=message, parent=n - 1 if n else None, sampled=n == len(asked))
        for n, message in enumerate(said)
    ]
    return vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
        agent=vf.AgentInfo(config=vf.AgentConfig()),
        state=state_cls(type(task))(),
        nodes=nodes,
    )
