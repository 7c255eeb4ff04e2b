"""Reads PostgreSQL: rows come by COPY, from the snapshot of one read-only transaction."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import StatementOptions, connect

from headrace.errors import SourceError
from headrace.stages.ingest._sql.session import Session, unbindable
from headrace.stages.ingest._sql.statement import Dialect, Statement, parse
from headrace.stages.ingest._sql.trouble import telling

TIMEOUT_S = 15
BATCH_BYTES = 1 << 25
_STATE = parse(
    "select pg_current_snapshot()::text, has_function_privilege('pg_control_system()', 'execute')"
    " and has_function_privilege('pg_control_checkpoint()', 'execute')",
    "postgresql",
)
_SERVER = parse(
    "select (select system_identifier from pg_control_system()), (select timeline_id from pg_control_checkpoint())",
    "postgresql",
)
_SETTING = "headrace.p"
_ENDLESS_TIME = -(2**63) + 946_684_800_000_000
_ENDLESS_DAY = -(2**31) + 10_957
"""For `-infinity`, the driver returns `_ENDLESS_TIME` as a time and `_ENDLESS_DAY` as a date. For `infinity`, it
returns one less.

PostgreSQL counts from 2000. The driver adds the time from 1970 to 2000, and for `infinity` the sum overflows. Finite
times and dates are always later than these two values.
"""


class PostgresSession(Session):
    """A connection to PostgreSQL.

    The driver streams a result only by COPY, and COPY takes no parameters. So the parameters' values are stored in
    settings of the transaction (by `set_config`, with bound parameters), and the query reads these settings. The values
    never become part of the query's text.
    """

    dialect: ClassVar[Dialect] = "postgresql"
    begins: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: str, shown: str) -> None:
        with telling(shown):
            database = connect(address(url))
        super().__init__(database, shown)

    def version(self) -> str | None:
        """Return a name for the snapshot, made from the transactions that it sees. Each transaction that writes changes
        the name."""
        snapshot, may_ask = self.one(_STATE)
        server = self.one(_SERVER) if may_ask else []  # some hosting services don't allow it
        return f"{'.'.join(map(str, server))}:{snapshot}"

    def bound(self, statement: Statement, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """Store the parameters' values in settings of the transaction, and return the query that reads them."""
        places = {}
        for number, name in enumerate(statement.names):
            kind, text = _written(name, values[name])
            places[name] = f"(null::{kind})"
            if text is not None:
                self._run("select set_config($1, $2, true)", (f"{_SETTING}{number}", text))
                found = f"current_setting('{_SETTING}{number}')"
                places[name] = f"(decode({found}, 'hex'))" if kind == "bytea" else f"({found}::{kind})"
        return statement.written(places.__getitem__) + "\n", ()  # the query may end with a comment

    def options(self, rows: int | None) -> dict[str, str]:
        """Return the driver's option for batches that are larger than its default. Larger batches save a sixth of the
        reading time."""
        del rows
        return {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)}

    def converted(self, schema: Any) -> tuple[Any, Callable[[Any], Any] | None]:
        """Return the schema to produce, and a function that converts the driver's batches to it.

        The driver marks some columns with PostgreSQL's own types; these become plain Arrow columns. `numeric` with a
        precision becomes a decimal.

        Raises:
            SourceError: a column's type doesn't exist in Arrow. The returned function raises SourceError if a time is
                infinite.
        """
        fields = [pa.field(each.name, _type(each)) for each in schema]
        wanted = pa.schema(fields)
        times = [place for place, field in enumerate(fields) if _is_time(field.type)]
        same = all(old.type.equals(new.type) for old, new in zip(schema, wanted, strict=True))

        def convert(batch: Any) -> Any:
            for place in times:
                _refuse_endless(batch.column(place), wanted.field(place).name)
            return pa.RecordBatch.from_arrays(batch.columns, schema=wanted) if same else _converted(batch, wanted)

        return wanted, convert


def address(url: str) -> str:
    """Return a URL with a connection timeout added, and with UTF-8 as the encoding of texts."""
    for option in (f"connect_timeout={TIMEOUT_S}", "client_encoding=UTF8"):
        if f"{option.partition('=')[0]}=" not in url:
            url += f"{'&' if '?' in url else '?'}{option}"
    return url


def _written(name: str, value: Any) -> tuple[str, str | None]:
    """Return a value's type in PostgreSQL, and the value as text that can be cast to this type. For null, the text is
    None."""
    match value:
        case None:
            return "text", None
        case bool():
            return "boolean", str(value).lower()
        case int():
            return ("bigint" if -(2**63) <= value < 2**63 else "numeric"), str(value)
        case float():
            return "double precision", repr(value)
        case decimal.Decimal():
            return "numeric", str(value)
        case str() if "\0" not in value:
            return "text", value
        case bytes():
            return "bytea", value.hex()
        case dt.datetime():
            return ("timestamp" if value.tzinfo is None else "timestamptz"), value.isoformat()
        case dt.date():
            return "date", value.isoformat()
        case dt.time():
            return "time", value.isoformat()
        case dt.timedelta():
            return "interval", f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
        case uuid.UUID():
            return "uuid", str(value)
        case _:
            raise unbindable(name, value)


def _type(field: Any) -> Any:
    """Return the Arrow type for a column of the driver's schema."""
    told = field.metadata or {}
    name = told.get(b"POSTGRESQL:type", b"").decode()
    if name == "numeric":
        modifier = int(told.get(b"POSTGRESQL:typmod", b"-1"))
        if modifier >= 0:
            precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
            if precision <= 76:
                return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        raise _typeless(field.name, "a `numeric` without a precision", "::float8` or `::numeric(18, 4)")
    if isinstance(field.type, pa.OpaqueType) or name == "money":
        shown = f"a `{name}`" if name and "<" not in name else "of a type of PostgreSQL's own"
        raise _typeless(field.name, shown, "::text")
    if isinstance(field.type, pa.JsonType):
        return field.type.storage_type
    return field.type


def _is_time(kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _refuse_endless(column: Any, name: str) -> None:
    """Raise SourceError if a column has an infinite time. The driver returns both infinities as the earliest times."""
    least = pc.min(column).value
    if least is not None and least <= (_ENDLESS_DAY if pa.types.is_date32(column.type) else _ENDLESS_TIME):
        raise SourceError(
            f"column `{name}` has a time that is `infinity`, which Arrow doesn't have",
            hint=f"replace it in the query: `nullif({name}, 'infinity')`, or `{name}::text`",
        )


def _typeless(column: str, what: str, cast: str) -> SourceError:
    return SourceError(
        f"column `{column}` is {what}, which Arrow doesn't have", hint=f"cast it in the query: `{column}{cast}`"
    )


def _converted(batch: Any, wanted: Any) -> Any:
    columns = []
    for column, field in zip(batch.columns, wanted, strict=True):
        made = column
        if isinstance(column.type, pa.BaseExtensionType) and not column.type.equals(field.type):
            made = column.storage
        try:
            columns.append(made if made.type.equals(field.type) else made.cast(field.type))
        except pa.ArrowException as error:
            raise SourceError(
                f"column `{field.name}` has a value that doesn't fit the type `{field.type}`: {error}",
                hint=f"a `numeric` may be NaN, and a decimal can't: cast it in the query: `{field.name}::float8`",
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
