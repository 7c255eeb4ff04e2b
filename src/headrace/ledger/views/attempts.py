"""Which attempts of a task count for what is shown of its output."""

from __future__ import annotations

from headrace.ledger.views.query import Query
from headrace.run.events import Checkpointed, Launched, Reused, Succeeded, decode_event

Keys = dict[str, tuple[dict[int, str], str]]
"""By task: the keys of its attempts, and the key of its present output."""


def keys_of(query: Query, run: str) -> Keys:
    """Return, by task, the keys of its attempts, and the key of its present output. If the run got new code, these keys
    differ: what an attempt logged belongs to the output of its own key."""
    keys, present = dict[str, dict[int, str]](), dict[str, str]()
    for _, body in sorted([*query.of_kind(run, Launched), *query.of_kind(run, Reused)]):
        event = decode_event(body)
        if isinstance(event, Launched):
            present[event.task] = keys.setdefault(event.task, {})[event.attempt] = event.key
        elif isinstance(event, Reused) and not event.run:
            present[event.task] = event.key
    return {task: (of, present[task]) for task, of in keys.items()}


def attempts_of_result(query: Query, run: str, task: str, key: str) -> set[int]:
    """Return the attempts from which a task's output under a key comes: the attempt that succeeded and, if it began at
    a checkpoint, the attempts before it that led to the checkpoint. Return an empty set if none has succeeded, or if
    the task was launched again under this key since then."""
    began = dict[int, int | None]()
    saved: int | None = None
    result: int | None = None
    kinds = (Launched, Checkpointed, Succeeded)
    for _, body in sorted(each for kind in kinds for each in query.of_kind(run, kind)):
        event = decode_event(body)
        if not isinstance(event, kinds) or event.task != task:
            continue
        if isinstance(event, Launched):
            if event.key == key:
                began[event.attempt], result = saved, None
        elif event.attempt in began:
            if isinstance(event, Checkpointed):
                saved = event.attempt
            else:
                result = event.attempt
    found = set[int]()
    while result is not None:
        found.add(result)
        result = began[result]
    return found
