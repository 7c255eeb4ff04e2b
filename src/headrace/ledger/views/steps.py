"""The tasks that made an artifact or needed it, each as a step with the sources of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from headrace.ledger.views.rows import OutputView
from headrace.spec.artifact import Ref
from headrace.spec.graph import Arg, Const, Secret, outs

TEXT_LIMIT = 80


class Need(Struct, frozen=True, kw_only=True):
    """The source of a parameter's value: outputs of tasks in the same run (`tasks`), or a value that the pipeline
    passed (`text`)."""

    param: str
    tasks: tuple[str, ...] = ()
    text: str | None = None
    digest: str | None = None


class Step(Struct, frozen=True, kw_only=True):
    """A task in a trail, with its run. If its output was reused, `origin` is the run that made the output.

    A result appears in a trail once; `again` lists the other runs that reused it, newest first. `earlier` is True if
    the run has got new code since, and has no such result under its present code.
    """

    run: str
    task: str
    stage: str
    state: str
    key: str | None
    code: str | None
    needs: tuple[Need, ...]
    outputs: tuple[OutputView, ...]
    origin: str | None = None
    again: tuple[str, ...] = ()
    earlier: bool = False


class Trail(Struct, frozen=True):
    """The lineage of an artifact, as the tasks that made it, the tasks before them, and the tasks after them.

    `made` are the tasks that produced the artifact, newest run first. `up` are the tasks that were needed to produce it
    in the newest of these runs, directly or through others, nearest first. `down` are the tasks of all runs that needed
    the artifact, directly or through others. `down` includes skipped tasks only of the run that `of_task` was called
    with.
    """

    made: tuple[Step, ...]
    up: tuple[Step, ...]
    down: tuple[Step, ...]


def once(steps: Iterable[Step]) -> list[Step]:
    """Return one step for each result: the step of the run that made the result."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Step]] = {}
    for step in steps:
        place = step.origin or step.run, step.task, tuple(each.digest for each in step.outputs)
        found.setdefault(place, []).append(step)
    return [whole(same) for same in found.values()]


def whole(same: Sequence[Step]) -> Step:
    """Return one of several steps that have the same result: the step of the run that made the result, or if it isn't
    there, the first step."""
    made = (step for step in same if step.origin in (None, step.run) and step.task == same[0].task)
    return next(made, same[0])


def need_of(param: str, arg: Arg) -> Need:
    """Return where a parameter's value comes from."""
    tasks = tuple(dict.fromkeys(out.task for out in outs(arg)))
    match arg:
        case Const(ref=ref):
            return Need(param=param, text=_text(ref), digest=ref.digest)
        case Secret(name=name):
            return Need(param=param, text=f"secret `{name}`")
        case _:
            return Need(param=param, tasks=tasks)


def _text(ref: Ref) -> str:
    """Return a small value as readable text; for any other value, return its type and size."""
    text = value_text(ref)
    return f"{ref.type}, {ref.size} bytes" if text is None else text


def value_text(ref: Ref) -> str | None:
    """Return a value as readable text of at most `TEXT_LIMIT` characters; a longer text is cut. Return None if the
    value isn't stored in the task's row in the ledger as JSON or text, or as parts that are."""
    text = _plain(ref)
    return text if text is None or len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _plain(ref: Ref) -> str | None:
    if ref.parts is None:
        there = ref.inline is not None and ref.codec in ("json", "text")
        return ref.inline.decode("utf-8", "replace") if there and ref.inline is not None else None
    if ref.codec != "parts":
        return None
    found = [_plain(part) for part in ref.parts]
    if None in found:
        return None
    if ref.names:
        return f"{{{', '.join(f'{name}: {text}' for name, text in zip(ref.names, found, strict=True))}}}"
    return f"[{', '.join(text for text in found if text is not None)}]"
