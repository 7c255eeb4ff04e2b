"""Columns of an endpoint's rows that aren't logged as clients send them: they are dropped or hashed."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.fitting import column_of
from headrace.models.predicted import plain
from headrace.models.types import in_type, is_text, kind_named, plain_type
from headrace.spec.endpoint import key_text
from headrace.spec.signature import Column

PREFIX = "hmac:"
"""What each hashed value begins with. The mark of the secret follows, then a colon, and the HMAC in hex digits."""
_MARK_DIGITS = 8
_HASHED = re.compile(f"{PREFIX}[0-9a-f]{{{_MARK_DIGITS}}}:[0-9a-f]{{64}}")
MARKED = re.compile(f"{PREFIX}([0-9a-f]{{{_MARK_DIGITS}}}):")
"""The beginning of a hashed value, with the mark of the secret as a group."""
_OF_SECRET = b"headrace: the mark of this secret"


class Hasher:
    """Hashes values with a secret, by HMAC-SHA256. With the same secret, equal values have equal hashes. Values are
    equal if they are the same key of an endpoint (`spec.endpoint.key_text`).

    `mark` shows whether two values were hashed with the same secret. It is made from the secret, and doesn't reveal it.

    >>> Hasher("an example").hashed(17) == Hasher("an example").hashed("17")
    True
    """

    __slots__ = ("_before", "_secret", "mark")

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode("utf-8", "surrogateescape")
        self.mark = self._digest(_OF_SECRET)[:_MARK_DIGITS]
        self._before = f"{PREFIX}{self.mark}:"

    def hashed(self, value: object) -> str | None:
        """Return the text that is logged instead of a value; None if the value is None."""
        if value is None:
            return None
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else key_text(value)
        return f"{self._before}{self._digest(text.encode('utf-8', 'surrogatepass'))}"

    def once(self, text: str) -> str:
        """Return a text hashed, or as it is if it is a hashed value already."""
        return text if is_hashed(text) else f"{self.hashed(text)}"

    def column(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of a table hashed."""
        values = values.cast(plain_type(values.type))
        try:
            distinct = values.unique()
            places = pc.index_in(values, value_set=distinct)
        except pa.ArrowNotImplementedError:  # Arrow compares no lists and no halves of floats
            return pa.chunked_array([pa.array([self.hashed(plain(each)) for each in values], pa.string())])
        return pa.array([self.hashed(plain(each)) for each in distinct], pa.string()).take(places)

    def _digest(self, data: bytes) -> str:
        return hmac.digest(self._secret, data, "sha256").hex()


class Redaction(NamedTuple):
    """What is done to the rows of an endpoint before they are logged: the columns `dropped` are left out, and the
    columns `hashed` are hashed by `hasher`."""

    dropped: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()
    hasher: Hasher | None = None

    @property
    def is_empty(self) -> bool:
        """Whether rows are logged as they are."""
        return not (self.dropped or self.hashed)

    def columns(
        self, columns: Mapping[str, Sequence[Any]], takes: Sequence[Column] = ()
    ) -> Mapping[str, Sequence[Any]]:
        """Return the columns of records as they are logged. Values are hashed in the type that the model takes, if it
        takes the column: so `0.1` for a column of 32-bit floats has the same hash in JSON and in Arrow."""
        if self.is_empty:
            return columns
        kinds = self._kinds(takes)
        return {
            name: self._logged(values, kinds.get(name)) if name in self.hashed else values
            for name, values in columns.items()
            if name not in self.dropped
        }

    def table(self, table: pa.Table, takes: Sequence[Column] = ()) -> pa.Table:
        """Return the rows of a stream as they are logged; for `takes`, see `columns`. If columns are dropped or hashed,
        metadata of the stream is left out, because a client can write anything there."""
        if self.is_empty:
            return table
        table, kinds = only(table, set(table.column_names) - self.dropped), self._kinds(takes)
        for place, name in enumerate(table.column_names):
            if name in self.hashed:
                values, kind = table.column(place), kinds.get(name)
                typed = None if kind is None else in_type(values, kind)
                table = table.set_column(place, name, self._hasher.column(values if typed is None else typed))
        bare = pa.schema([pa.field(each.name, each.type) for each in table.schema])
        return table.cast(bare) if table.num_columns else table

    @property
    def _hasher(self) -> Hasher:
        assert self.hasher is not None, "columns are hashed with a secret"
        return self.hasher

    def _kinds(self, takes: Sequence[Column]) -> dict[str, pa.DataType]:
        """Return the types of the hashed columns, as far as they are known."""
        kinds = {column.name: kind_named(column.type) for column in takes if column.name in self.hashed}
        return {name: plain_type(kind) for name, kind in kinds.items() if kind is not None}

    def _logged(self, values: Sequence[Any], kind: pa.DataType | None) -> Sequence[Any]:
        if kind is not None and not is_text(kind):
            try:
                return list(self._hasher.column(pa.chunked_array([column_of(values, kind)])).to_pylist())
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                pass  # a value that the type can't hold: the model can't take it either
        return [self._hasher.hashed(each) for each in values]


NO_REDACTION = Redaction()
"""Rows are logged as they are."""


def only(table: pa.Table, names: Collection[str]) -> pa.Table:
    """Return a table with only those of its columns that are in `names`. There may be none."""
    places = [place for place, name in enumerate(table.column_names) if name in names]
    if not places:  # Arrow counts the rows of a table without columns only if it is made in this way
        bare = pa.array([{}] * table.num_rows, pa.struct([]))
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(bare)])
    return table.select(places)


def is_hashed(value: object) -> bool:
    """Return whether a value of a log has the form of a hashed one. A client may have sent a text of this form."""
    return isinstance(value, str) and _HASHED.fullmatch(value) is not None
