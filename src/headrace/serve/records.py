"""Records: rows that a client sends as JSON, checked against the signature of the model that answers them.

The usual case is fast: one decoder, made from the signature, reads and checks all records. Only if it refuses them,
a second pass looks for every fault, so that a client hears of all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from headrace.errors import UsageError
from headrace.spec.noun import UNREADABLE, Noun
from headrace.spec.signature import Column

MOST_FAULTS = 100
"""How many faults a refusal names at most."""
SHOWN = 40
"""How many characters of a wrong value are shown."""

Handling = Literal["refuse", "take"]


class Strictness(Noun, frozen=True):
    """How an endpoint treats records that don't quite fit: fields that the model doesn't take, missing fields, nulls,
    and texts that are none of a column's categories. An unknown field that is taken is left out, and a missing one is
    null. A null goes to the preparation and the model, as it does in a table; so does an unseen text. Where missing
    fields are taken, so are nulls."""

    unknown: Handling = "refuse"
    missing: Handling = "refuse"
    null: Handling = "take"
    unseen: Handling = "take"


class Fault(Noun, frozen=True):
    """What is wrong with a request: the number of the record (from 0) and the field, if the fault is in one."""

    what: str
    record: int | None = None
    field: str | None = None


class RecordsRefused(UsageError):
    """Records don't fit the model. `faults` names what is wrong, at most `MOST_FAULTS` of it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the records don't fit the model", hint="correct what `faults` names")
        self.faults = tuple(faults)


class Rows(Noun, frozen=True):
    """Records as columns: for each column that the model takes, a value for each record. Dates, times and decimals are
    Python's; `models.fitting.table_of` makes a table of them. `names` are the client's own ids of the records; empty if
    it sent none. `taken` counts what did not quite fit and was taken."""

    columns: dict[str, tuple[Any, ...]]
    count: int
    names: tuple[str, ...] = ()
    taken: dict[str, int] = msgspec.field(default_factory=dict)


class Records:
    """Reads records for a model that takes these columns.

    Raises:
        UsageError: a column has a type that JSON can't hold.
    """

    def __init__(self, takes: Sequence[Column], strictness: Strictness, most: int) -> None:
        self._manners = strictness
        self._most = most
        self._types = {column.name: _type(column) for column in takes}
        self._categories = {each.name: frozenset(each.categories) for each in takes if each.categories is not None}
        may_lack, may_be_null = strictness.missing == "take", "take" in (strictness.missing, strictness.null)
        told = {column.name: _told(column, strictness, may_be_null=may_be_null) for column in takes}
        fields = [
            # The attributes are numbered, since a column's name may be any text.
            (
                f"f{place}",
                Annotated[kind | None if may_be_null else kind, told.get(name, Meta())],
                msgspec.field(name=name, **({"default": None} if may_lack else {})),
            )
            for place, (name, kind) in enumerate(self._types.items())
        ]
        record: Any = msgspec.defstruct(
            "Record", fields, frozen=True, gc=False, forbid_unknown_fields=strictness.unknown == "refuse"
        )
        body: Any = msgspec.defstruct(
            "Body",
            [
                ("records", Annotated[list[record], Meta(min_length=1, max_length=most)]),
                ("ids", list[Annotated[str, Meta(min_length=1, max_length=200)]], msgspec.field(default_factory=list)),
            ],
            frozen=True,
            gc=False,
            forbid_unknown_fields=True,
        )
        self.body = body
        """The type of a request's body."""
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode

    def rows(self, body: bytes) -> Rows:
        """Return the records of a request's body: `{"records": [...]}`, with `"ids": [...]` if the client has ids of
        its own.

        Raises:
            RecordsRefused: they don't fit.
        """
        try:
            found = self._decode(body)
        except UNREADABLE as error:
            raise RecordsRefused(list(self._faults(body)) or [Fault(what=str(error))]) from None
        if found.ids and (fault := _ids(found.ids, len(found.records))):
            raise RecordsRefused([fault])
        columns = dict(zip(self._types, zip(*map(astuple, found.records), strict=True), strict=True))
        unseen = self._unseen(columns)
        if unseen and self._manners.unseen == "refuse":
            raise RecordsRefused(unseen[:MOST_FAULTS])
        taken = {"unseen": len(unseen)} if unseen else {}
        return Rows(columns=columns, count=len(found.records), names=tuple(found.ids), taken=taken)

    def _unseen(self, columns: Mapping[str, Sequence[Any]]) -> list[Fault]:
        return [
            Fault(what=f"`{value:.{SHOWN}}` is none of the known categories", record=record, field=name)
            for name, known in self._categories.items()
            for record, value in enumerate(columns[name])
            if value is not None and value not in known
        ]

    def _faults(self, body: bytes) -> Iterator[Fault]:
        """Yield what is wrong with a body that the decoder refused."""
        try:
            found = msgspec.json.decode(body)
        except UNREADABLE as error:
            yield Fault(what=f"the body is no JSON: {error}")
            return
        if not isinstance(found, dict) or not isinstance(found.get("records"), list):
            yield Fault(what='the body must be an object with a list of objects: {"records": [{...}]}')
            return
        yield from (
            Fault(what=f"`{name:.{SHOWN}}` is no field of the body") for name in found if name not in ("records", "ids")
        )
        records = found["records"]
        if not 0 < len(records) <= self._most:
            yield Fault(what=f"there are {len(records):,} records; one request may have 1 to {self._most:,}")
            return
        count = 0
        for number, record in enumerate(records):
            for fault in self._faults_of(number, record):
                yield fault
                count += 1
                if count == MOST_FAULTS:
                    return

    def _faults_of(self, number: int, record: Any) -> Iterator[Fault]:
        if not isinstance(record, dict):
            yield Fault(what="it is no object", record=number)
            return
        for name, kind in self._types.items():
            if record.get(name) is None:
                handling = self._manners.null if name in record else self._manners.missing
                if handling == "refuse":
                    what = "it is null" if name in record else "it is missing"
                    yield Fault(what=what, record=number, field=name)
                continue
            try:
                msgspec.convert(record[name], kind, strict=True, builtin_types=())
            except (msgspec.ValidationError, ValueError) as error:
                yield Fault(what=f"{_brief(record[name])}: {error}", record=number, field=name)
        if self._manners.unknown == "refuse":
            yield from (
                Fault(what="the model takes no such field", record=number, field=name[:SHOWN])
                for name in record
                if name not in self._types
            )


def _ids(ids: Sequence[str], count: int) -> Fault | None:
    if len(ids) != count:
        return Fault(what=f"there are {count:,} records and {len(ids):,} ids; give each record an id, or none")
    return Fault(what="an id is given twice") if len(set(ids)) < count else None


def _brief(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return f"`{text[:SHOWN]}{'...' * (len(text) > SHOWN)}`"


def _told(column: Column, strictness: Strictness, *, may_be_null: bool) -> Meta:
    """Return what the schema of records says of a column beside its type in JSON."""
    if column.categories is None:
        return Meta(description=column.type)
    if strictness.unseen == "take":
        return Meta(description=column.type, examples=list(column.categories))
    known = [*column.categories, *[None] * may_be_null]
    return Meta(description=column.type, extra_json_schema={"enum": known})


def _type(column: Column, kind: str | None = None) -> Any:
    """Return the Python type that a column's values have in JSON. `kind` is the name of the column's type in Arrow."""
    kind = column.type if kind is None else kind
    if found := re.fullmatch(r"dictionary<values=(.+), indices=\w+, ordered=[01]>", kind):
        return _type(column, found[1])
    if found := re.fullmatch(r"(u?)int(8|16|32|64)", kind):
        bits = int(found[2])
        if found[1] and bits == 64:  # msgspec has no bound above int64's: what is larger can't be sent to a model
            return Annotated[int, Meta(ge=0, extra_json_schema={"maximum": (1 << 64) - 1})]
        return Annotated[
            int, Meta(ge=0, le=(1 << bits) - 1) if found[1] else Meta(ge=-(1 << bits - 1), le=(1 << bits - 1) - 1)
        ]
    if found := re.fullmatch(r"timestamp\[\w+(, tz=.+)?\]", kind):
        return Annotated[datetime, Meta(tz=True)] if found[1] else _LOCAL_TIME
    for pattern, made in _TYPES.items():
        if re.fullmatch(pattern, kind):
            return made
    raise UsageError(
        f"records in JSON can't have the column `{column.name}` of type `{column.type}`",
        hint="ask this endpoint in Arrow",
    )


_LOCAL_TIME: Any = Annotated[datetime, Meta(tz=False, extra_json_schema={"format": "date-time-local"})]
_TYPES: dict[str, Any] = {
    "bool": bool,
    "double|float|halffloat": float,
    "string|large_string|string_view": str,
    r"date(32|64)\[\w+\]": date,
    r"time(32|64)\[\w+\]": Annotated[time, Meta(extra_json_schema={"format": "time-local"})],
    r"decimal\d+\(\d+, -?\d+\)": Decimal,
}
"""The types of values in JSON, by patterns of Arrow's names."""
