"""What a policy names is looked for before anything runs."""

from __future__ import annotations

import pytest

from headrace.errors import UsageError
from headrace.plan.needs import check_policy
from headrace.spec.policy import Policy
from headrace.testing.graphs import Sketch, chain


def test_stages_and_single_tasks_can_be_asked_for() -> None:
    graph = chain(2)
    stages = {each.function: each for each in graph.stages.values()}
    check_policy(Policy(only=("step[1]",), force=("step",)), graph.nodes, stages)


def test_a_single_task_is_not_forced_and_that_is_said() -> None:
    graph = chain(2)
    with pytest.raises(UsageError, match=r"`--force step\[1\]`: the pipeline has no such stage\n") as told:
        check_policy(Policy(force=("step[1]",)), graph.nodes, graph.stages)
    assert told.value.hint == "did you mean `step`?"


def test_what_is_forced_is_among_what_is_asked_for_or_needed_by_that() -> None:
    sketch = Sketch()
    sketch.node("last", x=sketch.node("first"))
    stages = {each.function: each for each in sketch.stages.values()}
    check_policy(Policy(only=("last",), force=("first", "last")), sketch.nodes, stages)
    with pytest.raises(UsageError, match="`--force last`: `--only` leaves this stage out"):
        check_policy(Policy(only=("first",), force=("last",)), sketch.nodes, stages)


def test_of_many_stages_some_are_named_and_the_rest_counted() -> None:
    graph = chain(20)
    with pytest.raises(UsageError, match="`--only nope`: the pipeline has no such stage or task") as told:
        check_policy(Policy(only=("nope",)), graph.nodes, graph.stages)
    assert str(told.value.hint).startswith("it has `step`, `step[1]`, ")
    assert str(told.value.hint).endswith(" and 15 more")


def test_stages_that_are_only_somewhat_similar_are_listed_with_all_others() -> None:
    sketch = Sketch()
    for name in ("clean", "sql_version"):
        sketch.node(name)
    with pytest.raises(UsageError) as told:
        check_policy(Policy(only=("sklearn",)), sketch.nodes, sketch.stages)
    assert told.value.hint == "did you mean `clean`? it has `clean`, `sql_version`"
