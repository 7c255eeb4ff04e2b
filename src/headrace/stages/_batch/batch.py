"""`deploy.batch`: asks a model about all rows of a table, and delivers the answers.

    deploy.batch(model, flights, keep="id", endpoint="delays")
    deploy.batch(registry.find("model", "delays@production"), flights, keep="id", to="out/delays.parquet")
    deploy.batch(model, flights, to="s3://bucket/delays/")
    deploy.batch(model, flights, to="postgresql://ann@host/db", table="delays", key="id")

One task asks the model; its output is stored and reused like any other output. A second task delivers that output to
`to`. The second task runs each time, and returns the same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pyarrow as pa
from msgspec.structs import replace

from headrace.define.secret import Secret
from headrace.define.stage import StageFunction
from headrace.define.version import Version, own_code_of
from headrace.errors import UsageError
from headrace.models.scores import INTO
from headrace.spec.intent import is_name
from headrace.stages._batch.bucket import check_bucket, is_bucket, to_bucket
from headrace.stages._batch.parquet import SUFFIX, to_parquet
from headrace.stages._batch.scoring import score
from headrace.stages.options import Option, Retried, add_task, takes, whole
from headrace.stages.tables.columns import listed


def _named(name: str, value: Any) -> None:
    """A check that a value is the name of a column, or names of columns."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise UsageError(f"`{name}` is {value!r:.80}", hint="name a column, or several: `['id', 'day']`")


def _endpoint(name: str, value: Any) -> None:
    """A check that a value can be the name of an endpoint."""
    if not isinstance(value, str) or not is_name(value) or "/" in value:
        raise UsageError(f"`{name}` is {value!r:.80}", hint="use letters, digits and `_ . -`")


class BatchOptions(Retried, frozen=True, kw_only=True):
    """The options of `deploy.batch`."""

    preparation: Annotated[
        Any,
        Option(
            "the preparation that `prepare.clean` returned for the rows that the model learned from; it is applied to"
            " `rows` first. None: the preparation that is registered with the model, if `model` is a `registry.find`."
        ),
    ] = None
    keep: Annotated[
        str | Sequence[str], Option("columns of `rows` to return with the answers, such as an id.", _named)
    ] = ()
    into: Annotated[
        str, Option("the column for the answers; the scores of classes are in columns such as `predicted_CLASS`.")
    ] = INTO
    endpoint: Annotated[
        str | None,
        Option("the endpoint whose prediction log lists the batch. None: the name of the registered model.", _endpoint),
    ] = None
    part_rows: Annotated[
        int | None,
        Option(
            "the number of rows after which answers are saved, in case the attempt fails. None: 262,144 or more.",
            whole(1),
        ),
    ] = None
    to: Annotated[
        str | None,
        Option(
            "where to deliver the answers: a file `NAME.parquet`; a bucket, as `s3://BUCKET/NAME.parquet` for one"
            " object or `s3://BUCKET/FOLDER/` for parts; or the URL of a database as for `ingest.sql`. None: the"
            " answers are only stored like every output."
        ),
    ] = None
    table: Annotated[str | None, Option("the table of the database; it is created if it doesn't exist.")] = None
    key: Annotated[
        str | Sequence[str],
        Option("the columns that identify a row of that table: a row with the same key is replaced.", _named),
    ] = ()
    bucket_endpoint: Annotated[
        str | None, Option("the URL of the bucket's server. None: the cloud provider's own server.")
    ] = None
    bucket_region: Annotated[
        str | None, Option("the cloud's name for the bucket's region. None: the region of the environment.")
    ] = None


class BatchCall(BatchOptions, frozen=True):
    """The options and arguments of a call of `deploy.batch`."""

    model: Annotated[Any, Option("a trained model, the output of a stage of `train`, or a `registry.find`.")]
    rows: Annotated[Any, Option("the rows: a table, a stream of record batches, or a `registry.find` of a dataset.")]


@takes(BatchCall)
def batch(call: BatchCall) -> pa.Table:
    """Ask a model about all rows of a table, and return a table with the answer for each row. The tables may be larger
    than the memory. If the preparation refuses a row, the answer for this row is null.

    The answers are saved part by part. If an attempt is killed, the next attempt continues after the last complete
    part. The prediction log of the endpoint gets an entry with the artifacts of the rows and of the answers, in the
    transaction that records the task's success.

    With `to`, a second task delivers the answers, even if the answers were reused. A file or an object is either
    complete or doesn't appear. In a bucket's folder, `headrace.json` names the parts when all of them are there. A
    database gets the rows in several transactions, and each transaction also records how many rows are written. If the
    task is repeated in a resumed run, it continues after these parts or rows.

    Raises:
        UsageError: the options don't go together, the rows lack a column or have another type than the model takes, or
            the model can't predict.
        DataError: two rows have the same key, the key of a row is null, the table in the database lacks a column, or
            the file or the object exists and `deploy.batch` didn't write it.
        SourceError: the file, the bucket or the database can't be written.
    """
    keep, key = listed(call.keep), listed(call.key)
    kept = tuple(dict.fromkeys([*key, *keep]))
    _check(call, kept, key)
    endpoint = call.endpoint or (call.model.name if isinstance(call.model, Version) else "")
    given = {
        "model": call.model,
        "rows": call.rows,
        "preparation": call.preparation,
        "keep": kept,
        "into": call.into,
        "endpoint": endpoint,
        "part_rows": call.part_rows,
    }
    delivery = None if call.to is None else _delivery(call, call.to, key)
    table = add_task(score, call, given)
    if delivery is None:
        return table
    stage, target = delivery
    return add_task(stage, replace(call, when=None, after=None), {"table": table, **target})


def _delivery(call: BatchCall, to: str, key: Sequence[str]) -> tuple[StageFunction[..., pa.Table], dict[str, Any]]:
    """Return the stage that delivers answers, and the stage's arguments without the answers."""
    if is_bucket(to):
        return to_bucket, {"url": to, "endpoint": call.bucket_endpoint, "region": call.bucket_region}
    if not _is_database(to):
        return to_parquet, {"path": to}
    from headrace.stages._batch.database import to_database, url_of  # noqa: PLC0415  ADBC, which may not be installed

    url, secrets = url_of(to)
    return to_database, {"url": url, "name": call.table, "key": key, "secrets": secrets}


def _is_database(to: Any) -> bool:
    return isinstance(to, Secret) or (isinstance(to, str) and "://" in to and not is_bucket(to))


def _check(call: BatchCall, kept: Sequence[str], key: Sequence[str]) -> None:
    if isinstance(call.model, Version) and (name := own_code_of(call.model)) is not None:
        raise UsageError(
            f"version {call.model.version} of `{call.model.name}` answers with the project's function `{name}`, which"
            " only an endpoint calls",
            hint="make the rows that the model takes in an earlier stage, and give the model itself, which is the"
            " `value` of the version",
        )
    if call.into in kept:
        raise UsageError(
            f"`keep=` or `key=` names the column `{call.into}`, and the answers have that name",
            hint="give the answers another name by `into=`",
        )
    if call.to is not None and not isinstance(call.to, str | Secret):
        raise UsageError(
            f"`to` is {call.to!r:.80}", hint="give the path of a file, or the URL of a bucket or a database, as text"
        )
    if _is_database(call.to):
        _check_database(call, key)
    else:
        _check_only_database(call, key)
    if is_bucket(call.to):
        check_bucket(str(call.to), call.bucket_endpoint, call.bucket_region)
    else:
        _check_no_bucket(call)


def _check_only_database(call: BatchCall, key: Sequence[str]) -> None:
    if call.table is not None or key:
        raise UsageError(
            f"`{'table' if call.table is not None else 'key'}=` is for a database, and `to=` doesn't name a database",
            hint="give its URL: `to='postgresql://ann@host/db'`, or `to='sqlite:///file.db'`",
        )


def _check_no_bucket(call: BatchCall) -> None:
    for name in ("bucket_endpoint", "bucket_region"):
        if getattr(call, name) is not None:
            raise UsageError(
                f"`{name}=` is for a bucket, and `to=` doesn't name a bucket",
                hint="give its URL: `to='s3://bucket/answers/'`",
            )
    if call.to is not None and not _is_database(call.to) and not call.to.endswith(SUFFIX):
        hint = f"name a file that ends with `{SUFFIX}`, a bucket or a database"
        raise UsageError(f"`to` is `{call.to:.80}`", hint=hint)


def _check_database(call: BatchCall, key: Sequence[str]) -> None:
    if isinstance(call.to, str) and not call.to.startswith(("sqlite:", "postgresql:", "postgres:")):
        raise UsageError(
            f"answers can't be delivered to `{call.to.partition(':')[0]:.80}`",
            hint="give the URL of an SQLite file (`sqlite:///file.db`), of PostgreSQL or of a bucket (`s3://`), or a"
            f" path that ends with `{SUFFIX}`",
        )
    if not call.table or not key:
        raise UsageError(
            f"a database needs `{'key' if call.table else 'table'}=`",
            hint="name the table, and the columns that identify one of its rows: `table='delays', key='id'`",
        )
