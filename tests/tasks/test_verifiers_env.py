"""Task sets of the library verifiers, against a stand-in that has the parts of it that are used.

The same with the library itself: tests/peers/test_verifiers_env.py.
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from whet import registry
from whet.errors import ConfigError, DataError
from whet.interfaces import Task


class Data(SimpleNamespace):
    """A row with the fields that are read."""

    def model_dump(self, mode: str) -> dict[str, Any]:
        return dict(vars(self))


class VfTask:
    """Right answers get 1, brief ones half of 0.5; `score` awaits nothing."""

    NEEDS_CONTAINER = False
    key = hash = "k"

    def __init__(self, prompt: Any, system_prompt: str | None = None) -> None:
        self.data, self.config = Data(prompt=prompt, system_prompt=system_prompt, answer="4"), None

    async def setup(self) -> None: ...

    def hooks(self, kind: str) -> list[Any]:
        return [self.right]

    def right(self, trace: Any) -> float:
        return float(trace.nodes[-1].message["content"] == self.data.answer)

    @classmethod
    def toolsets(cls, config: Any) -> list[Any]:
        return []

    async def score(self, trace: Any) -> None:
        trace.rewards = {
            "right": SimpleNamespace(score=self.right(trace)),
            "brief": SimpleNamespace(score=0.5),
        }
        trace.reward = self.right(trace) + 0.25


class Unscored(VfTask):
    """Its rewards did not run."""

    async def score(self, trace: Any) -> None:
        trace.rewards, trace.reward = {"right": None}, 0.0


class Boxed(VfTask):
    """Prepares a container."""

    async def setup(self) -> None: ...


class Asking(VfTask):
    """Scores in a container."""

    def right(self, runtime: Any) -> float:
        return 1.0


class Armed(VfTask):
    """Has a tool."""

    @classmethod
    def toolsets(cls, config: Any) -> list[Any]:
        return ["search"]


class Taskset(list[Any]):
    config = None
    bounded = True

    @classmethod
    def toolsets(cls, config: Any) -> list[Any]:
        return []


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch):
    def build(*tasks: VfTask) -> Task:
        library, root = ModuleType("verifiers.v1"), ModuleType("verifiers")
        library.Task, library.SingleAgentEnv = VfTask, "single"
        library.environment_class = lambda name: "single"
        library.taskset_config_type = lambda name: SimpleNamespace(model_validate=lambda values: values)
        library.load_taskset = lambda settings: Taskset(tasks)
        for name in ("MessageNode", "Trace", "TraceTask", "AgentInfo", "AgentConfig"):
            setattr(library, name, SimpleNamespace)
        state = ModuleType("verifiers.v1.state")
        state.state_cls = lambda kind: SimpleNamespace
        root.v1 = library
        for module in (root, library, state):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return registry.build("tasks", {"name": "verifiers_env", "taskset": "sums", "test_frac": 0.01})

    return build


def test_questions_are_prompts_and_rewards_are_parts(build) -> None:
    task = build(VfTask("2+2?"), VfTask("1+3?", "Be brief."))
    plain, told = task.examples("train")
    assert (plain.id, plain.prompt, plain.answer, plain.messages) == ("sums/0", "2+2?", "4", ())
    assert [dict(m) for m in told.messages] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+3?"},
    ]
    score = task.score(told, "4")
    assert (score.value, dict(score.parts)) == (1.25, {"right": 1.0, "brief": 0.5})
    assert task.score(told, "5").value == 0.25


def test_rewards_that_did_not_run_are_a_failure_and_not_a_zero(build) -> None:
    task = build(Unscored("2+2?"))
    assert task.score(task.examples("train")[0], "4").status == "invalid"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "sums is empty"),
        ([Boxed("a")], "prepares a runtime"),
        ([Asking("a")], "asks for a runtime in right"),
        ([Armed("a")], "has tools"),
    ],
)
def test_what_needs_more_than_a_text_is_refused(build, tasks: list[VfTask], message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}.*, and whet scores the text of one answer"):
        build(*tasks).examples("train")


def test_a_question_that_is_missing_is_named(build) -> None:
    with pytest.raises(DataError, match="sums/1: expected a list of messages"):
        build(VfTask("a"), VfTask(None)).examples("train")


def test_without_the_library_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", None)
    task = registry.build("tasks", {"name": "verifiers_env", "taskset": "sums"})
    with pytest.raises(
        ConfigError, match=r"in an environment of its own .*pip install whet 'verifiers>=0.4,<0.5'"
    ):
        task.examples("train")
