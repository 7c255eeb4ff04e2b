"""Reads the labels of endpoints (what really came of predictions) from the store and from this host's log, and counts
them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from headrace.errors import LogError, NotFoundError, near
from headrace.inspect.endpoints.predictions import loaded, logs, prediction_log, tables
from headrace.inspect.endpoints.routes import moves
from headrace.inspect.views import Views
from headrace.project.project import Project
from headrace.spec.artifact import decode_ref

if TYPE_CHECKING:
    import pyarrow as pa


class SourceView(Struct, frozen=True, kw_only=True):
    """The labels of one source of an endpoint. `recorded` is the number of all its labels. The other fields divide this
    number: a label is the present label of its prediction (`counting`), or the next label of the prediction says the
    same (`repeated`) or something else (`corrected`), or the endpoint has no prediction with the label's id
    (`unknown`), or the label was `withdrawn`."""

    source: str
    recorded: int
    counting: int
    repeated: int
    corrected: int
    unknown: int
    withdrawn: int


class WithdrawalView(Struct, frozen=True, kw_only=True):
    """A withdrawal of all labels that `source` had sent until the time `at` (Unix seconds). `by` withdrew them, for the
    reason `why`."""

    source: str
    at: float
    by: str
    why: str


class LabelsView(Struct, frozen=True, kw_only=True):
    """The labels of an endpoint, by source, and the withdrawals of labels, the oldest first."""

    endpoint: str
    sources: tuple[SourceView, ...]
    withdrawals: tuple[WithdrawalView, ...]


def labels(project: Project, views: Views, endpoint: str) -> LabelsView:
    """Return how many labels each source of an endpoint has sent, what became of them, and the withdrawals.

    Raises:
        NotFoundError: the endpoint has neither predictions nor labels.
        BlobMissing, BlobDamaged: a part can't be read.
        LogError: a segment of this host can't be read, or a part isn't a table of labels.
    """
    import pyarrow as pa  # noqa: PLC0415  0.2 s, and most commands do without

    from headrace.models.labels import tallies  # noqa: PLC0415  it imports Arrow

    withdrawals = views.label_withdrawals(endpoint)
    known = [each.endpoint for each in logs(project, views)]
    if endpoint not in known and not withdrawals:
        hint = near(endpoint, known, "the endpoints are") if known else None
        raise NotFoundError(f"there is no label of an endpoint `{endpoint:.80}`", hint=hint)
    made = tables(project, views, endpoint)
    ids = pa.chunked_array([chunk for each in made for chunk in each.column("id").chunks], pa.string())
    return LabelsView(
        endpoint=endpoint,
        sources=tuple(
            SourceView(source=source, recorded=tally.recorded, **tally._asdict())
            for source, tally in tallies(ids, recorded(project, views, endpoint), withdrawn(views, endpoint)).items()
        ),
        withdrawals=tuple(
            WithdrawalView(source=each.source, at=each.at, by=each.by, why=each.why) for each in withdrawals
        ),
    )


def labelled(project: Project, views: Views, endpoint: str, predictions: pa.Table) -> pa.Table:
    """Return predictions of an endpoint with three more columns: `label`, `label_source` and `labelled_at`. They are
    null for predictions that have no label, or only withdrawn ones.

    Raises:
        BlobMissing, BlobDamaged: a part can't be read.
        LogError: a segment of this host can't be read, or a part isn't a table of labels.
    """
    from headrace.models.labels import joined  # noqa: PLC0415  it imports Arrow

    return joined(predictions, recorded(project, views, endpoint), withdrawn(views, endpoint))


def recorded(project: Project, views: Views, endpoint: str) -> pa.Table:
    """Return all labels that were ever recorded for an endpoint, in the order of their times (`models.labels.LABELS`).
    A label may name a key and a time instead of a prediction's id. It gets the id of the prediction that it belongs to,
    if there is one.

    Raises:
        BlobMissing, BlobDamaged: a part can't be read.
        LogError: a segment of this host can't be read, or a part isn't a table of labels.
        ConfigError: keys of predictions are hashed, and their secret isn't set.
    """
    import pyarrow as pa  # noqa: PLC0415  as above

    from headrace.inspect.endpoints.redaction import same_keys  # noqa: PLC0415  it imports Arrow
    from headrace.models.labels import MADE, in_order, made_for, resolved  # noqa: PLC0415  as above

    # A segment that is sealed meanwhile is read twice, under the same name.
    found = in_order(dict([*_unsealed(project, endpoint), *_sealed(project, views, endpoint)]))
    columns = _about(views, endpoint)
    if columns is None or found.column("key").null_count == len(found):
        return found
    made = [made_for(each, *columns) for each in tables(project, views, endpoint)]
    return resolved(*same_keys(project.config.serve, found, pa.concat_tables([MADE.empty_table(), *made])))


def withdrawn(views: Views, endpoint: str) -> dict[str, float]:
    """Return the sources of an endpoint whose labels were withdrawn. Each comes with a time (Unix seconds): labels that
    the source sent until then don't count."""
    return {each.source: each.at for each in views.label_withdrawals(endpoint)}  # the newest of a source comes last


def _about(views: Views, endpoint: str) -> tuple[str, str] | None:
    """Return the names of the endpoint's `key` and `time` columns, or None if it doesn't have both. For a retired
    endpoint, return the columns that it had before."""
    for each in moves(views, endpoint) if any(row.name == endpoint for row in views.routes()) else ():
        if each.variants:
            return None if each.key is None or each.time is None else (each.key, each.time)
    return None


def _unsealed(project: Project, endpoint: str) -> Iterator[tuple[tuple[str, int], pa.Table]]:
    from headrace.serve.predictions.part import label_parts  # noqa: PLC0415  it imports Arrow

    for contents in prediction_log(project).contents():
        if (table := label_parts(contents).get(endpoint)) is not None:
            yield (contents.writer, contents.number), table


def _sealed(project: Project, views: Views, endpoint: str) -> Iterator[tuple[tuple[str, int], pa.Table]]:
    import pyarrow as pa  # noqa: PLC0415  as above

    from headrace.models.labels import LABELS  # noqa: PLC0415  as above

    parts = views.label_parts(endpoint)
    for part, table in zip(parts, loaded(project, [decode_ref(part.out) for part in parts]), strict=True):
        if not isinstance(table, pa.Table) or not table.schema.equals(LABELS):  # an archive may bring anything
            raise LogError(
                f"part {part.number} of the labels of endpoint `{endpoint}` isn't a table of labels",
                hint="import only archives that you trust",
            )
        yield (part.writer, part.segment), table
