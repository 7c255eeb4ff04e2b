"""Options of ready-made stages are declared once: signature, help, errors and the arguments that are stored follow."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest

import headrace as hr
from headrace.define.ports import tracing
from headrace.define.trace import Trace
from headrace.errors import TraceError, UsageError
from headrace.spec.graph import Const, Node
from headrace.spec.stage import Stage
from headrace.stages import evaluate, train
from headrace.stages.options import Option, Options, takes, whole

EMPTY = pa.table({"x": [1.0], "y": [0]})
HERE = pa.table({"x": [2.0], "y": [1]})


class Graph:
    """What a trace hands on: the stages that it declares, and its nodes, with arguments as they are."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.nodes: list[Node] = []

    def declare(self, stage: Stage, function: Callable[..., Any]) -> Stage:
        return stage

    def keep(self, value: Any) -> Any:
        return value

    def extend(self, stages: Sequence[Stage], nodes: Sequence[Node]) -> None:
        self.stages += stages
        self.nodes += nodes


@pytest.fixture
def graph() -> Iterator[Graph]:
    found = Graph()
    trace = Trace(found)  # type: ignore[arg-type]
    token = tracing.set(trace)
    yield found
    tracing.reset(token)


def written(graph: Graph) -> list[tuple[str, Any]]:
    """Return the arguments of the only task, in the order in which they are stored."""
    trace = tracing.get()
    assert isinstance(trace, Trace)
    trace.flush()
    (node,) = graph.nodes
    return [(name, each.ref if isinstance(each, Const) else each) for name, each in node.args]


TRAINING = {
    "scheduler_every": "epoch", "epochs": 10, "batch_size": 256, "precision": "fp32", "clip_norm": None,
    "patience": None, "checkpoint_every": "1m", "on_nonfinite": "fail", "log_every": 50, "seed": 0, "device": "auto",
}  # fmt: skip
TORCH = {
    "model": list, "table": EMPTY, "target": "y", "valid": None, "features": None, "loss": None, "optimizer": "AdamW",
    "lr": None, "scheduler": None, "procs": 1, **TRAINING,
}  # fmt: skip
FOLDER = hr.Folder("minilm")
PEFT = {"r": 2}
FINETUNE = {
    "model": FOLDER, "table": EMPTY, "called": "minilm", "target": "y", "text": "text", "task": "classify",
    "valid": None, "peft": PEFT, "length": 128, "end": "", "optimizer": "AdamW", "lr": 1e-3, "scheduler": None,
    **TRAINING, "epochs": 1, "batch_size": 16, "clip_norm": 1.0, "log_every": 10, "seed": 3,
}  # fmt: skip
JUDGED = {
    "model": None, "table": EMPTY, "target": "y", "scores": "x", "valid": HERE, "train": EMPTY, "slices": "y",
    "sensitive": "x", "groups": "x", "min_group": 5, "robust": False, "seed": 3,
}  # fmt: skip
READ = {
    "model": None, "table": EMPTY, "references": "y", "texts": "x", "train": EMPTY, "slices": "y", "groups": "x",
    "min_group": 5, "seed": 3,
}  # fmt: skip
DEFAULTS = (
    "train key baseline previous slices groups gates confidence resamples min_group seed",
    "valid train key baseline previous slices sensitive groups gates confidence resamples min_group robust seed",
)
"""What may be left out of `generation`, and of the other two, after options of their own."""


def scrambled(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in sorted(given)}


@pytest.mark.parametrize(
    ("call", "stored", "function", "defaults"),
    [
        (
            lambda: train.torch(list, EMPTY, target="y", log_every=7, epochs=3, valid=HERE, nodes=2, procs=2),
            TORCH | {"log_every": 7, "epochs": 3, "valid": HERE, "procs": 2},
            "train.deep:_torch#3e903093",
            "",
        ),
        (lambda: train.torch(table=EMPTY, model=list, target="y"), TORCH, "train.deep:_torch#b4b3fe5c", ""),
        (
            lambda: train.finetune(FOLDER, EMPTY, seed=3, target="y", peft=PEFT, always=True, timeout="1h"),
            FINETUNE,
            "train.tuning:_finetune#d572f03c",
            "",
        ),
        (
            lambda: evaluate.classification(**scrambled(JUDGED)),
            JUDGED,
            "evaluate.classifying:classification",
            f"target features positive scores decisions predict probabilities threshold {DEFAULTS[1]}",
        ),
        (
            lambda: evaluate.regression(**scrambled(JUDGED)),
            JUDGED,
            "evaluate.regressing:regression",
            f"target features scores predict {DEFAULTS[1]}",
        ),
        (
            lambda: evaluate.generation(**scrambled(READ)),
            READ,
            "evaluate.generating:generation",
            f"texts prompt generate {DEFAULTS[0]}",
        ),
    ],
)
def test_a_call_is_stored_as_it_was_before_options_were_declared_once(
    graph: Graph,
    call: Callable[[], Any],
    stored: dict[str, Any],
    function: str,
    defaults: str,
) -> None:
    call()
    assert written(graph) == list(stored.items())
    (stage,) = graph.stages
    assert stage.function == graph.nodes[0].stage == f"headrace.stages.{function}"
    assert stage.defaults == tuple(defaults.split())


TAKING = [
    "train.torch", "train.finetune", "train.predict", "train.foretell", "train.complete",
    "evaluate.classification", "evaluate.regression", "evaluate.generation", "evaluate.paired",
]  # fmt: skip


def test_an_option_that_came_later_is_stored_only_where_it_says_something(graph: Graph) -> None:
    train.torch(list, EMPTY, target="y", warmup_steps=0)
    assert "warmup_steps" not in dict(written(graph))
    graph.nodes.clear()
    train.finetune(FOLDER, EMPTY, target="y", warmup_steps=5)
    assert dict(written(graph))["warmup_steps"] == 5


@pytest.mark.parametrize("name", TAKING)
def test_help_shows_each_option_with_its_type_and_default_and_what_it_is_for(name: str) -> None:
    family, _, stage = name.partition(".")
    made = getattr({"train": train, "evaluate": evaluate}[family], stage)
    shown = inspect.signature(made)
    told = re.findall(r"^    (\w+): \S.*", inspect.getdoc(made) or "", re.MULTILINE)
    assert told[: len(shown.parameters)] == list(shown.parameters)
    for each in shown.parameters.values():
        assert each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        assert each.annotation is not each.empty
        assert not isinstance(each.annotation, str)
    assert typing.get_type_hints(made) == {
        **{each.name: each.annotation for each in shown.parameters.values()},
        "return": shown.return_annotation,
    }
    given = [each.name for each in shown.parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert given in (["model", "table"], ["model", "adapter", "table"], ["first", "second"])


class Wide(Options, frozen=True, kw_only=True):
    """Options of two stages."""

    width: Annotated[int, Option("how wide.", whole(1))] = 1
    seed: Annotated[int, Option("of what is random.")] = 0


class Deep(Wide, frozen=True, kw_only=True):
    """Options of one of them."""

    depth: Annotated[int | None, Option("how deep.", whole(2))]
    way: Annotated[Literal["up", "down"], Option("which way.", before="seed")] = "up"
    width: int = 4


class Dig(Deep, frozen=True):
    """What it is called with."""

    place: Annotated[str, Option("where.")]


@takes(Dig)
def dig(call: Dig) -> str:
    """Dig.

    Raises:
        UsageError: there is nothing.
    """
    return f"{call.place} {call.width} {call.depth} {call.way} {call.seed}"


def test_a_function_that_takes_a_noun_is_called_with_its_fields() -> None:
    assert dig("here", depth=2) == dig(place="here", depth=2) == "here 4 2 up 0"
    assert str(inspect.signature(dig)) == (
        "(place: str, *, depth: int | None, width: int = 4, way: Literal['up', 'down'] = 'up', seed: int = 0) -> str"
    )
    assert inspect.getdoc(dig) == (
        "Dig.\n\nArgs:\n    place: where.\n    depth: how deep.\n    width: how wide.\n    way: which way.\n"
        "    seed: of what is random.\n\nRaises:\n    UsageError: there is nothing."
    )


@pytest.mark.parametrize(
    ("given", "error", "says", "hint"),
    [
        ({"width": 0}, UsageError, "`width` is 0", "give a whole number from 1"),
        ({"depth": True}, UsageError, "`depth` is True", "give a whole number from 2"),
        ({"way": "left"}, UsageError, "`way` is 'left'", "give one of up, down"),
        ({"dept": 3}, TraceError, "`dig` has no parameter `dept` (test_options.py:", "did you mean `depth`?"),
        ({"colour": 3}, TraceError, "`dig` has no parameter `colour`", "it takes place, depth, width, way, seed"),
        ({"place": "x"}, TraceError, "`dig`: multiple values for argument 'place'", "it takes place, depth"),
    ],
)
def test_an_option_that_is_wrong_is_told_by_its_name(
    given: dict[str, Any], error: type[Exception], says: str, hint: str
) -> None:
    with pytest.raises(error) as told:
        dig("here", **{"depth": 2, **given})
    assert says in str(told.value)
    assert hint in str(getattr(told.value, "hint", ""))


def test_an_argument_that_is_missing_is_told_where_the_call_is() -> None:
    with pytest.raises(TraceError, match=r"`dig`: missing a required .*argument: 'depth' \(test_options.py:"):
        dig("here")  # type: ignore[call-arg]
