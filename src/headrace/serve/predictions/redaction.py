"""Columns of an endpoint's rows that aren't logged as clients send them: they are dropped or hashed."""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.predicted import plain
from headrace.models.types import is_text, plain_type
from headrace.spec.endpoint import key_text

PREFIX = "hmac:"
"""What each hashed value begins with. The mark of the secret follows, then a colon, and the HMAC in hex digits."""
_MARK_DIGITS = 8
_HASHED = re.compile(f"{PREFIX}[0-9a-f]{{{_MARK_DIGITS}}}:[0-9a-f]{{64}}")
_MARKED = re.compile(f"{PREFIX}([0-9a-f]{{{_MARK_DIGITS}}}):")
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

    def columns(self, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """Return the columns of records as they are logged."""
        if self.is_empty:
            return columns
        return {name: self._logged(name, values) for name, values in columns.items() if name not in self.dropped}

    def table(self, table: pa.Table) -> pa.Table:
        """Return the rows of a stream as they are logged. Metadata of the stream is left out, because a client can
        write anything there."""
        places = [place for place, name in enumerate(table.column_names) if name not in self.dropped]
        if not places:  # Arrow counts the rows of a table without columns only if it is made in this way
            bare = pa.array([{}] * table.num_rows, pa.struct([]))
            return pa.Table.from_batches([pa.RecordBatch.from_struct_array(bare)])
        table = table.select(places)
        for place, name in enumerate(table.column_names):
            if name in self.hashed:
                assert self.hasher is not None, "columns are hashed with a secret"
                table = table.set_column(place, name, self.hasher.column(table.column(place)))
        return table.cast(pa.schema([pa.field(each.name, each.type) for each in table.schema]))

    def _logged(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        if name not in self.hashed:
            return values
        assert self.hasher is not None, "columns are hashed with a secret"
        return [self.hasher.hashed(each) for each in values]


NO_REDACTION = Redaction()
"""Rows are logged as they are."""


def is_hashed(value: object) -> bool:
    """Return whether a value of a log has the form of a hashed one. A client may have sent a text of this form."""
    return isinstance(value, str) and _HASHED.fullmatch(value) is not None


def marks_in(rows: pa.ChunkedArray, columns: Collection[str]) -> Counter[str]:
    """Return how many rows of a log have a hashed value in one of the fields `columns`, by the mark of the secret. Rows
    that are JSON texts count if any field has a hashed value."""
    found = Counter[str]()
    for values in _texts(rows, columns):
        for each in values.value_counts():
            for mark in set(_MARKED.findall(each["values"].as_py() or "")):
                found[mark] += each["counts"].as_py()
    return found


def _texts(rows: pa.ChunkedArray, columns: Collection[str]) -> Iterator[pa.ChunkedArray]:
    if is_text(rows.type):
        yield rows
    elif pa.types.is_struct(rows.type):
        yield from (
            pc.struct_field(rows, [place])
            for place, field in enumerate(rows.type)
            if field.name in columns and is_text(field.type)
        )
