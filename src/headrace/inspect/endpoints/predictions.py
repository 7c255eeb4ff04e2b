"""Reads the prediction logs of a project: what its endpoints answered, from the store and from this host's segments,
and the batches that their models answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import LogError, NotFoundError, near
from headrace.inspect.views import Views
from headrace.models.types import kind_named, plain_type
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.serve.predictions.log import PredictionLog
from headrace.spec.artifact import Ref, decode_ref, fused, gather
from headrace.spec.bundle import own_code_in
from headrace.spec.intent import wanted
from headrace.spec.signature import Signature, signature_in

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "predictions"
"""The folder of the prediction log in a project's state folder."""


class LogView(Struct, frozen=True, kw_only=True):
    """The prediction log of an endpoint. `predictions` is the number of sealed predictions, `parts` the number of parts
    that have them, and `unsealed` the number of predictions that are still only on this host. `first` and `last` are
    the times of the first and last sealed request, in Unix seconds; None if nothing is sealed yet. `labels` is the
    number of recorded labels, sealed or not. `batches` is the number of batches that the endpoint's models answered,
    and `batch_rows` the number of rows in all these batches. `endpoint` is empty for the batches of models that belong
    to no endpoint."""

    endpoint: str
    predictions: int
    parts: int
    first: float | None
    last: float | None
    unsealed: int
    labels: int
    batches: int = 0
    batch_rows: int = 0


class BatchView(Struct, frozen=True, kw_only=True):
    """A batch: a task asked version `version` of the endpoint's model about `rows` rows. The work took `seconds` and
    ended at the time `at` (Unix seconds). The model's preparation refused `refused` of the rows. `input` and `output`
    are the digests of the rows and of the answers. `version` is None if the model isn't registered under the endpoint's
    name."""

    at: float
    version: int | None
    rows: int
    refused: int
    seconds: float
    input: str
    output: str
    run: str
    task: str


def prediction_log(project: Project) -> PredictionLog:
    """Return the prediction log of a project on this host."""
    return PredictionLog(project.home / FOLDER)


def logs(project: Project, views: Views) -> list[LogView]:
    """Return the prediction logs of all endpoints that have predictions or labels, sorted by endpoint.

    Raises:
        LogError: a segment of this host can't be read.
    """
    unsealed, labels = Counter[str](), Counter[str]()
    for contents in prediction_log(project).contents():
        counts, told = Counter[str](), Counter[str]()
        for _, answered in contents.logged:
            counts[answered.endpoint] += answered.count
        for feedback in contents.feedback:
            told[feedback.endpoint] += len(feedback.labels)
        # A segment is dropped only after its parts are in the ledger, so they may count already.
        is_sealed = partial(views.is_sealed, contents.writer, contents.number)
        unsealed += Counter({name: count for name, count in counts.items() if not is_sealed(name)})
        labels += Counter({name: count for name, count in told.items() if not is_sealed(name, has_labels=True)})
    rows = {row.endpoint: row for row in views.prediction_logs()}
    labels += Counter({row.endpoint: row.count for row in views.label_logs()})
    batched = {row.endpoint: row for row in views.prediction_batch_logs()}
    return [
        LogView(
            endpoint=endpoint,
            predictions=row.count if (row := rows.get(endpoint)) else 0,
            parts=row.parts if row else 0,
            first=row.first if row else None,
            last=row.last if row else None,
            unsealed=unsealed[endpoint],
            labels=labels[endpoint],
            batches=in_batches.parts if (in_batches := batched.get(endpoint)) else 0,
            batch_rows=in_batches.count if in_batches else 0,
        )
        for endpoint in sorted({*rows, *unsealed, *labels, *batched})
    ]


def batches(views: Views, endpoint: str, *, since: datetime | None = None) -> list[BatchView]:
    """Return the batches of an endpoint, the newest first. With `since`, return only those that ended at that time or
    later."""
    return [
        BatchView(
            at=row.last,
            version=row.version,
            rows=row.count,
            refused=row.refused,
            seconds=row.last - row.first,
            input=decode_ref(row.given).digest,
            output=decode_ref(row.out).digest,
            run=row.run,
            task=row.task,
        )
        for row in views.prediction_batches(endpoint, since.timestamp() if since else 0.0)
    ]


def predictions(project: Project, views: Views, endpoint: str, *, since: datetime | None = None) -> pa.Table:
    """Return the predictions of an endpoint, sealed or not, in the order of their requests. With `since`, return only
    those that were requested at that time or later. The columns are those of `serve.predictions.part`. Answers of
    batches aren't included.

    Raises:
        NotFoundError: the endpoint has no predictions at all.
        BlobMissing, BlobDamaged: a part can't be read.
        LogError: a segment of this host can't be read, or a part is no table.
    """
    import pyarrow as pa  # noqa: PLC0415  0.2 s, and lists of endpoints do without
    import pyarrow.compute as pc  # noqa: PLC0415  as above

    from headrace.models.predicted import merged, none  # noqa: PLC0415  it imports Arrow

    tables = [*unsealed(project, views, endpoint), *_sealed(project, views, endpoint, since)]
    if not tables:
        known = [each.endpoint for each in logs(project, views)]
        if endpoint not in known:
            hint = near(endpoint, known, "the endpoints are")
            raise NotFoundError(f"there is no prediction of an endpoint `{endpoint}`", hint=hint)
        return none()
    table = merged(tables)
    if since is not None:
        table = table.filter(pc.field("at") >= pa.scalar(since.astimezone(UTC), pa.timestamp("us", "UTC")))
    ids = dict[str, int]()
    for place, each in enumerate(table.column("id").to_pylist()):
        ids.setdefault(each, place)  # what was sealed after this host's segments had been read is there twice
    return table.take(pa.array(ids.values(), pa.int64())).sort_by("at")


def tables(project: Project, views: Views, endpoint: str) -> list[pa.Table]:
    """Return all predictions of an endpoint, sealed or not, as several tables. The same prediction may be in two of
    them.

    Raises:
        BlobMissing, BlobDamaged: a part can't be read.
        LogError: a segment of this host can't be read, or a part is no table.
    """
    return [*unsealed(project, views, endpoint), *_sealed(project, views, endpoint, None)]


def _sealed(project: Project, views: Views, endpoint: str, since: datetime | None) -> Iterator[pa.Table]:
    import pyarrow as pa  # noqa: PLC0415  as above

    parts = views.prediction_parts(endpoint, since.timestamp() if since else 0.0)
    for table in loaded(project, fused([decode_ref(part.out) for part in parts])):
        if not isinstance(table, pa.Table):  # an archive may bring anything
            what = f"a part of the predictions of endpoint `{endpoint}`"
            raise LogError(
                f"{what} is a `{type(table).__name__}`, not a table", hint="import only archives that you trust"
            )
        yield table


def loaded(project: Project, outs: Sequence[Ref]) -> Sequence[object]:
    """Return the values of these artifacts. If several are slices of one table, the table is read only once.

    Raises:
        BlobMissing, BlobDamaged: one can't be read.
    """
    values = Codecs().load(gather(outs), reading_store(project))
    assert isinstance(values, list)
    return values


def unsealed(project: Project, views: Views, endpoint: str) -> Iterator[pa.Table]:
    """Yield tables with the predictions of an endpoint that are only on this host.

    Raises:
        LogError: a segment can't be read.
    """
    from headrace.serve.predictions.part import parts  # noqa: PLC0415  it imports Arrow

    for contents in prediction_log(project).contents():
        versions = {each.answered.version for each in contents.logged}
        kinds = {version: found for version in versions if (found := takes(views, version)) is not None}
        tables = parts(contents, kinds)
        # A segment is dropped only after its parts are in the ledger.
        if endpoint in tables and not views.is_sealed(contents.writer, contents.number, endpoint):
            yield tables[endpoint]


def takes(views: Views, version: str) -> pa.Schema | None:
    """Return the columns that a version of a model takes, or None if they aren't known. `version` is its name and
    number, such as `delays:3`."""
    import pyarrow as pa  # noqa: PLC0415  as above

    name, number, _ = wanted("model", version)
    found = [each for each in views.versions("model", name) if each.version == number]
    if not found:
        return None
    own = own_code_in(found[0].preparation)
    if own is None and found[0].preparation is not None:
        return None  # the rows are logged as they came, before the preparation
    signature = signature_in(found[0].out.signature) if own is None else own.signature
    return None if signature is None else pa.schema(_fields(signature))


def _fields(signature: Signature) -> Iterator[tuple[str, pa.DataType]]:
    for column in signature.takes:
        if (kind := kind_named(column.type)) is not None:
            yield column.name, plain_type(kind)
