"""Random pipelines: graphs of stages whose name says what they give, cut where the body asks for a value."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from msgspec import Struct

from headrace.run.events import Asked, Event, Traced, TraceEnded
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Many, Out
from headrace.spec.stage import Resources
from headrace.testing.graphs import Sketch, listing, number, numbers, truth

KINDS = ("plain", "flag", "list", "map")
PARAMS = ("a", "b", "c")


class Scene(Struct):
    """What the tracer reports, one after another; after an `Asked` it waits for its answer."""

    events: list[Event]

    def __repr__(self) -> str:
        lines = []
        for event in self.events:
            if isinstance(event, Traced):
                lines += [str(each) for each in (*event.stages, *event.nodes)]
            elif isinstance(event, Asked):
                lines.append(f"asked {event.question}: {event.out}")
        return "\n".join(["Scene", *lines])


def output(function: str, key: str) -> Ref:
    """Return what a stage gives under a key: the same each time, and another for another key."""
    chance = int(key[:8], 16)
    name = function.partition(":")[2]
    if name.startswith("flag"):
        return truth(chance % 3 > 0)
    if name.startswith("list"):
        return listing([number(chance + each) for each in range(chance % 4)])
    return number(chance)


@st.composite
def scenes(
    draw: st.DrawFn, *, most: int = 10, kinds: Sequence[str] = KINDS, allows: int = 1, approved: bool = False
) -> Scene:
    """Draw a pipeline of up to so many calls of stages of these kinds; a map may allow so many failures. Some stages
    must be `approved`, if told so."""
    sketch = Sketch()
    known: dict[str, list[Out]] = {kind: [] for kind in KINDS}
    events: list[Event] = []
    questions = 0
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        known[kind].append(_call(draw, sketch, kind, known, allows, approved=approved))
        if draw(st.integers(0, 7)) == 0:
            events += [sketch.traced(), Asked(questions, _one(draw, known))]
            questions += 1
    return Scene([*events, sketch.traced(), TraceEnded()])


def _call(
    draw: st.DrawFn, sketch: Sketch, kind: str, known: dict[str, list[Out]], allows: int, *, approved: bool
) -> Out:
    name = f"{kind}{draw(st.integers(0, 3))}"
    if name not in sketch.stages:
        _declare(draw, sketch, name, approved=approved)
    args = {param: _arg(draw, known) for param in PARAMS[: draw(st.integers(0, 2))]}
    if kind == "map":
        args["xs"] = _list(draw, known)
    has = any(known.values())
    return sketch.node(
        name,
        over=["xs"] if kind == "map" else (),
        when=draw(st.sampled_from(known["flag"])) if known["flag"] and draw(st.integers(0, 3)) == 0 else None,
        after=[_one(draw, known)] if has and draw(st.integers(0, 4)) == 0 else (),
        always=draw(st.integers(0, 3)) == 0,
        allow_failures=draw(st.integers(0, allows)) if kind == "map" else 0,
        **args,
    )


def _declare(draw: st.DrawFn, sketch: Sketch, name: str, *, approved: bool) -> None:
    sketch.declare(
        name,
        retries=draw(st.integers(0, 1)),
        timeout_s=60.0,
        backoff_s=draw(st.sampled_from((0.0, 1.0))),
        defaults=tuple(param for param in PARAMS if draw(st.booleans())),
        cache=draw(st.sampled_from(("always", "always", "always", "run", "never"))),
        resources=draw(st.sampled_from((Resources(), Resources(), Resources(cpu=2), Resources(nodes=2)))),
        isolation=draw(st.sampled_from(("warm", "warm", "warm", "fresh"))),
        approval="people" if approved and draw(st.integers(0, 3)) == 0 else None,
    )


def _one(draw: st.DrawFn, known: dict[str, list[Out]]) -> Out:
    return draw(st.sampled_from([out for outs in known.values() for out in outs]))


def _arg(draw: st.DrawFn, known: dict[str, list[Out]]) -> Arg:
    if not any(known.values()) or draw(st.integers(0, 3)) == 0:
        return Const(number(draw(st.integers(0, 3))))
    match draw(st.integers(0, 5)):
        case 0:
            return Many("dict", (_one(draw, known), Const(number(1))), ("one", "two"))
        case 1 if known["list"]:
            return Out(draw(st.sampled_from(known["list"])).task, (0,))  # it may have no such part
        case _:
            return _one(draw, known)


def _list(draw: st.DrawFn, known: dict[str, list[Out]]) -> Arg:
    lists = [*known["list"], *known["map"]]
    if lists and draw(st.booleans()):
        return draw(st.sampled_from(lists))
    if any(known.values()) and draw(st.booleans()):
        return Many("list", tuple(_one(draw, known) for _ in range(draw(st.integers(1, 3)))))
    return numbers(*draw(st.lists(st.integers(0, 2), max_size=3)))
