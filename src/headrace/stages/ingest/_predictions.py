"""`ingest.predictions`: reads an endpoint's predictions that are new since the last run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from headrace.codec.joined import Joined
from headrace.define.argument_check import held_to_types
from headrace.define.cursor import Cursor, advance
from headrace.define.cursor import cursor as cursor_named
from headrace.define.lazy import Late, late, refuse_in_stage
from headrace.define.log import warn
from headrace.define.ports import resolver
from headrace.define.stage import ready
from headrace.errors import DataError, UsageError
from headrace.models.predicted import merged, none
from headrace.spec.endpoint import MOST_PARTS
from headrace.spec.intent import is_name


@dataclasses.dataclass(frozen=True, repr=False)
class Sealed(Late):
    """New parts of an endpoint's prediction log. `tables` has a table for each part, or is None if there are no parts.
    `number` is the number of the last part."""

    endpoint: str
    number: int
    tables: Any

    def __repr__(self) -> str:
        return f"<predictions {self.endpoint}:{self.number}>"


@held_to_types("ingest.predictions")
def predictions(endpoint: str, *, cursor: str | None = None) -> pa.Table:
    """Return an endpoint's predictions that were sealed since the last run, each prediction once.

    A cursor remembers which parts of the endpoint's log were read. The cursor advances when the task that reads the
    parts succeeds. A new prediction is at first only on the disk of the server, for up to two minutes. Until it is
    sealed, it is left for a later run. One run reads at most 10,000 parts; a server seals one part for each minute in
    which the endpoint answers.

    The columns are `id`, `at` (when the request came), `variant`, `version`, `latency_s`, `name` (the client's own id),
    `trace`, `why` (why there is no answer), and the structs `input` and `output`. If the types of a field in `input` or
    `output` changed and can't be in one column, `input` and `output` are JSON texts. If there are no predictions,
    `input` and `output` have the type null. The answers of a shadow have the variant `shadow`.

    Args:
        endpoint: the name of the endpoint.
        cursor: the name of the cursor. None: `predictions/ENDPOINT`. Pipelines that each read all predictions need
            cursors of their own.

    Raises:
        UsageError: the call isn't in a pipeline's body, `endpoint` isn't allowed as a name, or the value of the cursor
            isn't the number of a part.
    """
    if not is_name(endpoint):
        hint = "give the name of an endpoint: letters, digits and `_ . -`"
        raise UsageError(f"`{endpoint:.80}` can't be the name of an endpoint", hint=hint)
    refuse_in_stage(f"`ingest.predictions({endpoint!r})`")
    active = resolver.get()
    if active is None:
        raise UsageError(
            "`ingest.predictions` reads what is new since the last run, so it can only be called in a pipeline",
            hint=f'call it in a pipeline\'s body, or read all predictions: `hr.predictions("{endpoint}")`',
        )
    place = cursor_named(cursor or f"predictions/{endpoint}")
    after = 0 if place.value is None else place.value
    if isinstance(after, bool) or not isinstance(after, int) or after < 0:
        raise UsageError(
            f"cursor `{place.name}` holds {after!r:.80}, which isn't the number of a part of a prediction log",
            hint="name another cursor with `cursor=`, or set this one back: `headrace rewind`",
        )
    number, tables = active.point("predictions", f"{endpoint}:{after}")
    sealed = late(Sealed, {"tables": tables}, endpoint=endpoint, number=max(number, after))
    return read(sealed, place)


@ready("ingest.predictions", version=1, kind="ingest", name="predictions")
def read(sealed: Sealed, cursor: Cursor) -> pa.Table:
    """Return the predictions in parts of a log, in the order in which the parts were added, and advance the cursor."""
    tables = sealed.tables or []
    if not tables:
        if not sealed.number:
            warn(f"endpoint `{sealed.endpoint}` has no sealed predictions yet")
        return none()
    for table in tables:
        if not isinstance(table, pa.Table):  # an archive may bring anything
            raise DataError(
                f"a part of the predictions of endpoint `{sealed.endpoint}` is a `{type(table).__name__}`, not a table",
                hint="import only archives that you trust",
            )
    if len(tables) >= MOST_PARTS:
        warn(f"{len(tables):,} parts were read, the most that one run reads; the next run reads the next parts")
    advance(cursor, sealed.number)
    # A `Joined` refers to the parts, so they aren't written again.
    is_alike = all(table.schema.equals(tables[0].schema) for table in tables)
    return Joined(tables) if is_alike else merged(tables)
