"""Computes the differences between metrics that two runs have for the same rows, with intervals of the differences.

The metrics of both runs are computed from the same resamples of the rows (`evaluate.paired`), so the interval of their
difference is far narrower than the interval of each metric suggests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from headrace.errors import HeadraceError
from headrace.inspect.metrics.metrics import Load
from headrace.inspect.run_record import Material
from headrace.plan.keys import told
from headrace.spec.artifact import Ref, type_of
from headrace.spec.graph import Const
from headrace.spec.intent import REPORT

JUDGES = "headrace.stages.evaluate."
PREDICTIONS, ROW = "predictions", "row"
AUTO_ROWS = 100_000
"""Predictions of more rows than this are paired only on request, since the pairing takes seconds."""
LEAST_COLUMNS = 2
TARGETS = ("target", "references")
"""The parameters by which an evaluation gets the name of the target's column."""


class Gap(Struct, frozen=True, kw_only=True):
    """The difference between a metric in one run and in the first run, with the interval of the difference."""

    value: float
    low: float
    high: float


class Pairing(Struct, frozen=True, kw_only=True):
    """The differences of a task's metrics by name. If there are no differences, `why` says why; `why` is empty if there
    was nothing to pair.

    `is_apart` is True if the two runs judged different rows, so that an effect of the model can't be separated from an
    effect of the rows.
    """

    gaps: Mapping[str, Gap] = {}
    why: str = ""
    is_apart: bool = False


def pair(first: Material, other: Material, task: str, load: Load, *, asked: bool | None) -> Pairing:
    """Return the differences between the metrics of a task in two runs.

    If `asked` is True, predictions of any number of rows are paired; if None, only up to `AUTO_ROWS`; if False, none.
    If the runs judged different rows, the result says so in any case.
    """
    refs = _predictions(first, task), _predictions(other, task)
    if refs[0] is None or refs[1] is None or (asked is False and _is_same_test(first, other, task)):
        return Pairing()
    try:
        mine: Any = load(refs[0])
        theirs: Any = load(refs[1])
    except HeadraceError as error:
        return Pairing(why=_unpaired(task, error))
    if not _is_told(mine) or not _is_told(theirs):
        return Pairing()
    if are_apart(mine, theirs):
        judged = f"`{task}` judged other rows in `{other.view.run}` ({theirs.num_rows:,}) than in `{first.view.run}`"
        return Pairing(
            why=f"{judged} ({mine.num_rows:,}): a difference may come from the rows as well as from the model",
            is_apart=True,
        )
    if asked is False:
        return Pairing()
    rows = mine.num_rows
    if rows > AUTO_ROWS and not asked:
        return Pairing(why=f"`{task}` judged {rows:,} rows: `--paired` compares them row by row, which takes a while")
    from headrace.stages import evaluate  # noqa: PLC0415  it loads NumPy and pandas

    try:
        comparison = evaluate.paired(mine, theirs, target=mine.column_names[1], **_asked(first, task))
    except HeadraceError as error:
        return Pairing(why=_unpaired(task, error))
    return Pairing(
        gaps={
            row["metric"]: Gap(value=row["difference"], low=row["low"], high=row["high"])
            for row in comparison.differences.to_pylist()
            if None not in (row["difference"], row["low"], row["high"])
        }
    )


def _unpaired(task: str, error: HeadraceError) -> str:
    return f"the predictions of `{task}` can't be compared row by row: {error.message}"


def _predictions(run: Material, task: str) -> Ref | None:
    """Return the predictions that a ready-made evaluation returned with its report, or None."""
    stage, ref = run.stage(task), run.out(task)
    if stage is None or not stage.function.startswith(JUDGES) or ref is None or not ref.names or not ref.parts:
        return None
    parts = dict(zip(ref.names, ref.parts, strict=True))
    is_report = any(part.type == REPORT for part in ref.parts)
    return parts.get(PREDICTIONS) if is_report else None


def _is_same_test(first: Material, other: Material, task: str) -> bool:
    """Return whether two runs surely judged the same rows, without loading predictions: the same evaluation judged the
    same table by the same target. If no target was passed, so that each model names its own, return False."""
    mine, theirs = first.rows[task], other.rows[task]
    if mine.inputs is None or theirs.inputs is None or mine.code is None or mine.code != theirs.code:
        return False
    here, there = told(mine.inputs), told(theirs.inputs)
    targets = [each for each in TARGETS if type_of(here.get(each, "")) == "builtins.str"]
    return bool(targets) and all(here.get(each) == there.get(each) for each in ("table", *targets))


def _is_told(table: Any) -> bool:
    return getattr(table, "num_columns", 0) >= LEAST_COLUMNS and "predicted" in table.column_names


def are_apart(mine: Any, theirs: Any) -> bool:
    """Return whether the predictions of two runs are for different rows: the numbers of the rows differ, or their
    targets do."""
    import pyarrow as pa  # noqa: PLC0415  0.2 s, only where there are predictions
    import pyarrow.compute as pc  # noqa: PLC0415  likewise

    target = mine.column_names[1]
    if ROW not in mine.column_names or ROW not in theirs.column_names or target not in theirs.column_names:
        return False
    if not mine[ROW].equals(theirs[ROW]):  # an evaluation keeps the order of the rows
        return True
    here, there = mine[target], theirs[target]
    try:
        there = there.cast(here.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return True  # targets of another type
    # For Arrow, NaN differs from NaN. Nested values are compared by their text.
    if pa.types.is_nested(here.type):
        return not here.equals(there) and repr(here.to_pylist()) != repr(there.to_pylist())
    if pa.types.is_floating(here.type):
        here, there = (pc.if_else(pc.is_nan(each), None, each) for each in (here, there))
    return not here.equals(there)


def _asked(run: Material, task: str) -> dict[str, Any]:
    """Return the arguments of an evaluation that are also passed to the paired comparison."""
    node = run.node(task)
    args = {} if node is None else dict(node.args)
    arguments = {}
    for name in ("positive", "probabilities", "groups", "confidence", "seed"):
        arg = args.get(name)
        if isinstance(arg, Const) and arg.ref.inline is not None and arg.ref.codec in ("json", "text"):
            data = arg.ref.inline
            arguments[name] = data.decode() if arg.ref.codec == "text" else msgspec.json.decode(data)
    return {name: value for name, value in arguments.items() if value is not None}
