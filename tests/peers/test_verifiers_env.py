"""A task set of the library verifiers 0.4, through its own loader, traces and scoring."""

import sys
from pathlib import Path

import pytest

from whet import registry
from whet.errors import ConfigError
from whet.interfaces import Task

pytestmark = pytest.mark.peer
pytest.importorskip("verifiers.v1")

SOURCE = """
import verifiers.v1 as vf

class Data(vf.TaskData):
    answer: str

class SumTask(vf.Task[Data]):
    @vf.reward(weight=2.0)
    async def right(self, task, trace) -> float:
        if trace.last_reply == "boom":
            raise RuntimeError("no luck")
        return float(trace.last_reply == task.answer)

    @vf.reward
    async def brief(self, trace) -> float:
        return 0.25 if len(trace.messages[-1].content) < 3 else 0.0

class BoxTask(vf.Task[Data]):
    @vf.reward
    async def tested(self, runtime) -> float:
        return 1.0

class Config(vf.TasksetConfig):
    largest: int = 5

class Sums(vf.Taskset[SumTask, Config]):
    kind = SumTask

    def load(self):
        for n in range(self.config.largest):
            system = "Be brief." if n % 2 else None
            yield self.kind(Data(prompt=f"{n}+1", answer=str(n + 1), system_prompt=system), self.config.task)

class Boxed(Sums):
    kind = BoxTask

class Endless(Sums):
    INFINITE = True

__all__ = ["CLASS"]
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def build(kind: str = "Sums", **settings: object) -> Task:
        name = f"demo_{kind.lower()}"
        (tmp_path / f"{name}.py").write_text(SOURCE.replace("CLASS", kind))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return registry.build("tasks", {"name": "verifiers_env", "taskset": f"owner/{name}", **settings})

    return build


def test_questions_and_rewards_are_those_of_the_task_set(build) -> None:
    task = build(settings={"largest": 40})
    examples = {e.id: e for split in ("train", "test") for e in task.examples(split)}
    assert len(examples) == 40
    first, second = (examples[f"owner/demo_sums/{n}"] for n in (0, 1))
    assert (first.prompt, first.answer, first.messages) == ("0+1", "1", ())
    assert [m["content"] for m in second.messages] == ["Be brief.", "1+1"]
    assert task.score(second, " 2 ").parts == {"right": 1.0, "brief": 0.0}
    assert task.score(second, "2").value == 2.25  # 2 * 1 + 0.25
    assert task.score(second, "three").value == 0.0


def test_an_error_of_its_reward_is_raised_on_and_never_a_zero(build) -> None:
    task = build()
    with pytest.raises(Exception, match="no luck"):
        task.score(task.examples("train")[0], "boom")


def test_a_reward_that_needs_a_runtime_is_refused(build) -> None:
    with pytest.raises(
        ConfigError, match="asks for a runtime in tested, and whet scores the text of one answer"
    ):
        build("Boxed").examples("train")


def test_an_endless_task_set_needs_a_number(build) -> None:
    with pytest.raises(ConfigError, match=r"has no end: say how much of it in task.num_tasks"):
        build("Endless").examples("train")
    task = build("Endless", num_tasks=5)
    assert sum(len(task.examples(split)) for split in ("train", "test")) == 5
