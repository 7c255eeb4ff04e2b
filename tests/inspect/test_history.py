"""The facts about past runs, and the ready-made stages that they know by name."""

from __future__ import annotations

from importlib import import_module

import pytest

from headrace.define.stage import StageFunction
from headrace.inspect import gates, history
from headrace.inspect.history import PastCode
from headrace.ledger.views.views import Views
from headrace.plan.reuse import Before, Declared
from headrace.run.story import Story
from headrace.spec.code import Code, Part
from headrace.spec.graph import Node
from headrace.spec.stage import Stage, function_place
from headrace.stages.ingest._sql.stages import Grown


@pytest.mark.parametrize("name", sorted({history._LOGS, history._SQL, *history._READ_WHOLE, gates.GATE}))
def test_each_ready_made_stage_that_is_known_by_name_is_there(name: str) -> None:
    module, qualname = function_place(name)
    found = getattr(import_module(module), qualname)
    assert isinstance(found, StageFunction)
    assert found.declaration.function == name


def test_the_changes_of_a_source_stand_where_its_stage_returns_them() -> None:
    assert tuple(map(Grown._fields.index, ("new", "gone"))) == history._CHANGES


class OneRun(Views):
    """The views of a ledger with one run."""

    def __init__(self, then: Story) -> None:
        self._then = then

    def story(self, run: str | None = None) -> Story:
        return self._then


def fit(text: str) -> Stage:
    return Stage(
        name="fit",
        function="pipelines:fit",
        code=Code(digest=text, parts=(Part(name="fit", kind="function", digest=text),)),
    )


def test_the_code_of_a_stage_is_compared_once_for_all_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [Node(name=f"fit[{n}]", stage="pipelines:fit", args=()) for n in range(1, 50)]
    past = PastCode(OneRun(Story(stages={"pipelines:fit": fit("old")}, nodes={each.name: each for each in calls})))
    compared: list[Code] = []
    differing = history.differing
    monkeypatch.setattr(history, "differing", lambda then, now: (compared.append(now), differing(then, now))[1])
    before = Before("run-1", "key", "old", b"")
    assert {tuple(past.changed(before, each, fit("new"))) for each in calls} == {("fit",)}
    assert len(compared) == 1


def test_code_that_the_run_itself_had_before_is_not_looked_for_in_the_ledger() -> None:
    node = Node(name="fit", stage="pipelines:fit", args=())
    past = PastCode(OneRun(Story(stages={"pipelines:fit": fit("new")}, nodes={"fit": node})))
    for old in ("older", "old"):
        before = Before("", "key", old, b"", Declared(node, fit(old), {}))
        assert past.changed(before, node, fit("new")) == ["fit"]
