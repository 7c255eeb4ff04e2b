"""Records: rows that a client sends as JSON, checked against the signature of the model that answers them.

The usual case is fast: one decoder, made from the signature, reads and checks all records. If it refuses them, a second
pass finds every fault, so that the client gets all faults at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from headrace.errors import UsageError
from headrace.models.fitting import check_about
from headrace.spec.endpoint import key_text, moment
from headrace.spec.noun import UNREADABLE, Noun
from headrace.spec.signature import Column

MOST_FAULTS = 100
"""The most faults that a refusal lists."""
SHOWN = 40
"""How many characters of a wrong value are shown."""

Handling = Literal["refuse", "take"]


class Strictness(Noun, frozen=True):
    """How an endpoint treats records that don't quite fit. It refuses or takes (accepts) fields that the model doesn't
    have (`unknown`), missing fields, nulls, and texts that aren't among a column's categories (`unseen`). An unknown
    field that is taken is ignored, and a missing field becomes null. Nulls and unseen texts go to the preparation and
    the model, as they do in a table. If missing fields are taken, so are nulls."""

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
    """Records don't fit the model. `faults` lists what is wrong, at most `MOST_FAULTS` entries."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the records don't fit the model", hint="correct what `faults` names")
        self.faults = tuple(faults)


class Rows(Noun, frozen=True):
    """Records as columns. `columns` has, for each column that the model takes, a value for each record; dates, times
    and decimals are Python's (`models.fitting.table_of` makes a table of them). `beside` has, as texts, the columns
    that say whom and when an answer is about, if the model doesn't take them. `names` are the client's own ids of the
    records; empty if it sent none. `taken` counts values that didn't quite fit and were accepted, by kind."""

    columns: dict[str, tuple[Any, ...]]
    count: int
    beside: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    names: tuple[str, ...] = ()
    taken: dict[str, int] = msgspec.field(default_factory=dict)


class Records:
    """Reads records for a model that takes the columns `takes`.

    `key` and `time` are the columns that say whom and when an answer is about, if there are any. Each record must have
    them, even if the model doesn't take them.

    Raises:
        UsageError: a column has a type that JSON can't hold, or the model's column `time` isn't a time.
    """

    def __init__(
        self,
        takes: Sequence[Column],
        strictness: Strictness,
        most: int,
        *,
        key: str | None = None,
        time: str | None = None,
    ) -> None:
        check_about(takes, key, time)
        self.takes = takes
        self._manners = strictness
        self.most, self.key, self._time = most, key, time
        self._others: dict[tuple[str | None, str | None], Records] = {}
        self._types = {column.name: _type(column) for column in takes}
        beside = dict(zip((key, time), _BESIDE, strict=True))
        self._beside = tuple(name for name in beside if name is not None and name not in self._types)
        self._types |= {name: beside[name] for name in self._beside}
        self._categories = {each.name: frozenset(each.categories) for each in takes if each.categories is not None}
        free = self._types.keys() - {key, time}  # a record always tells its key and its time
        may_lack = free if strictness.missing == "take" else set()
        may_be_null = free if "take" in (strictness.missing, strictness.null) else set()
        strict: dict[str, Any] = {"forbid_unknown_fields": strictness.unknown == "refuse"}
        told = {column.name: _told(column, strictness, may_be_null=column.name in may_be_null) for column in takes}
        fields = [
            # The attributes are numbered, since a column's name may be any text.
            (
                f"f{place}",
                Annotated[kind | None if name in may_be_null else kind, told.get(name, Meta())],
                msgspec.field(name=name, **({"default": None} if name in may_lack else {})),
            )
            for place, (name, kind) in enumerate(self._types.items())
        ]
        record: Any = msgspec.defstruct("Record", fields, frozen=True, gc=False, kw_only=True, **strict)
        self._columns: Any = msgspec.defstruct(
            "Columns",
            [
                (f"f{place}", _list_of(kind, may_be_null=name in may_be_null), msgspec.field(name=name))
                for place, (name, kind) in enumerate(self._types.items())
            ],
            gc=False,
            **strict,
        )
        body: Any = msgspec.defstruct(
            "Body",
            [
                ("records", Annotated[list[record], Meta(min_length=1, max_length=most)]),
                ("ids", Annotated[list[_ID], _UNIQUE], msgspec.field(default_factory=list)),
            ],
            frozen=True,
            gc=False,
            forbid_unknown_fields=True,
        )
        self.body = body
        """The type of a request's body."""
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
        kind = Decimal if self._types.get(key or "") is Decimal else _BESIDE[0]  # then the text `17.00` is a number
        keyed: Any = msgspec.defstruct("Keyed", [("key", kind, msgspec.field(name=key or "key"))], gc=False)
        keys: Any = msgspec.defstruct(
            "Keys",
            [("records", Annotated[list[keyed], Meta(max_length=most)]), ("ids", list[str], msgspec.UNSET)],
            forbid_unknown_fields=True,
        )
        self._decode_keys: Callable[[bytes], Any] = msgspec.json.Decoder(keys).decode

    @property
    def beside(self) -> Sequence[str]:
        """The columns that each record must have although the model doesn't take them."""
        return self._beside

    def about(self, key: str | None, time: str | None) -> Records:
        """Return a reader of records for the same model, in which the columns `key` and `time` say whom and when an
        answer is about.

        Raises:
            UsageError: the model's column `time` isn't a time.
        """
        if (key, time) == (self.key, self._time):
            return self
        if (key, time) not in self._others:
            self._others = {  # only the last ones: routes change
                (key, time): Records(self.takes, self._manners, self.most, key=key, time=time)
            }
        return self._others[key, time]

    def keys(self, body: bytes) -> list[str]:
        """Return the key of each record in a request's body (whom it is about) as text. If a record has no valid key,
        or the body has no list of records, return an empty list; `rows` then says what is wrong."""
        try:
            return [key_text(each.key) for each in self._decode_keys(body).records]
        except UNREADABLE:
            return []

    def rows(self, body: bytes) -> Rows:
        """Return the records of a request's body: `{"records": [...]}`, with `"ids": [...]` if the client has ids of
        its own.

        Raises:
            RecordsRefused: the records don't fit the model.
        """
        try:
            found = self._decode(body)
        except UNREADABLE as error:
            raise RecordsRefused(list(self._faults(body)) or [Fault(what=str(error))]) from None
        if found.ids and (fault := _ids(found.ids, len(found.records))):
            raise RecordsRefused([fault])
        columns = dict(zip(self._types, zip(*map(astuple, found.records), strict=True), strict=True))
        return self._checked(columns, len(found.records), tuple(found.ids))

    def of_columns(self, columns: Mapping[str, Sequence[Any]], count: int) -> Rows:
        """Return records that a client sent as columns. Each column has `count` values, of the types that JSON has. The
        records are checked like those in a body.

        Raises:
            RecordsRefused: the records don't fit the model.
        """
        given = dict(columns)
        if self._manners.missing == "take":
            absent = self._types.keys() - columns.keys() - {self.key, self._time}
            given |= {name: [None] * count for name in absent}
        try:
            found = msgspec.convert(given, self._columns, strict=True, builtin_types=())
        except (msgspec.ValidationError, ValueError) as error:
            faults = list(islice(self._faults_by_column(given), MOST_FAULTS))
            raise RecordsRefused(faults or [Fault(what=str(error))]) from None
        return self._checked(dict(zip(self._types, map(tuple, astuple(found)), strict=True)), count, ())

    def _faults_by_column(self, columns: Mapping[str, Sequence[Any]]) -> Iterator[Fault]:
        """Yield what is wrong with columns that can't be converted."""
        if self._manners.unknown == "refuse":
            yield from (_unknown(name) for name in columns if name not in self._types)
        for name in self._types:
            if name not in columns:
                yield Fault(what="it is missing", field=name)
            for number, value in enumerate(columns.get(name, ())):
                yield from self._faults_in(name, value, number)

    def _checked(self, columns: dict[str, tuple[Any, ...]], count: int, names: tuple[str, ...]) -> Rows:
        """Return columns as rows, after checking categories, keys and times. The types of the values are right
        already."""
        unseen = self._unseen(columns)
        if unseen and self._manners.unseen == "refuse":
            raise RecordsRefused(unseen[:MOST_FAULTS])
        taken = {"unseen": len(unseen)} if unseen else {}
        if nulls := sum(values.count(None) for values in columns.values()):
            taken["null"] = nulls
        if untold := list(islice(self._untold(columns), MOST_FAULTS)):
            raise RecordsRefused(untold)
        beside = {name: tuple(map(key_text, columns.pop(name))) for name in self._beside}
        return Rows(columns=columns, count=count, beside=beside, names=names, taken=taken)

    def _untold(self, columns: Mapping[str, Sequence[Any]]) -> Iterator[Fault]:
        """Yield a fault for each record without a valid key or time."""
        for name in filter(None, (self.key, self._time)):
            for record, value in enumerate(columns[name]):
                if why := why_untold(value, is_time=name == self._time):
                    yield Fault(what=why, record=record, field=name)

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
        if not 0 < len(records) <= self.most:
            yield Fault(what=f"there are {len(records):,} records; one request may have 1 to {self.most:,}")
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
        for name in self._types:
            if name in record:
                yield from self._faults_in(name, record[name], number)
            elif self._manners.missing == "refuse" or name in (self.key, self._time):
                yield Fault(what="it is missing", record=number, field=name)
        if self._manners.unknown == "refuse":
            yield from (_unknown(name, number) for name in record if name not in self._types)

    def _faults_in(self, name: str, value: Any, number: int) -> Iterator[Fault]:
        """Yield what is wrong with the value of a field."""
        if value is None:
            if self._manners.null == "refuse" or name in (self.key, self._time):
                yield Fault(what="it is null", record=number, field=name)
            return
        try:
            found = msgspec.convert(value, self._types[name], strict=True, builtin_types=())
        except (msgspec.ValidationError, ValueError) as error:
            yield Fault(what=f"{_brief(value)}: {error}", record=number, field=name)
            return
        if name in (self.key, self._time) and (why := why_untold(found, is_time=name == self._time)):
            yield Fault(what=why, record=number, field=name)


def _unknown(name: str, record: int | None = None) -> Fault:
    return Fault(what="the model takes no such field", record=record, field=name[:SHOWN])


def _list_of(kind: Any, *, may_be_null: bool) -> Any:
    return list[kind | None] if may_be_null else list[kind]


class Given(Protocol):
    """The rows of a request, as a client has sent them."""

    def keys(self, records: Records, /) -> list[str]:
        """Return the key of each row (whom it is about) as text; an empty list if a key can't be read."""
        ...

    def rows(self, records: Records, places: Sequence[int] | None, /) -> Rows:
        """Return the rows at the positions `places` (None: all rows), checked for the model of `records`. In faults,
        rows are numbered among those at `places`.

        Raises:
            RecordsRefused: the rows don't fit the model.
        """
        ...


class Body:
    """The records in the body of a request."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def keys(self, records: Records) -> list[str]:
        """See `Given`."""
        return records.keys(self._body)

    def rows(self, records: Records, places: Sequence[int] | None) -> Rows:
        """See `Given`."""
        return records.rows(self._body if places is None else parted(self._body, [places])[0])


class _Raw(msgspec.Struct, gc=False):
    records: list[msgspec.Raw]
    ids: list[str] = []


_decode_raw = msgspec.json.Decoder(_Raw).decode


def parted(body: bytes, parts: Sequence[Sequence[int]]) -> list[bytes]:
    """Divide the body of a request into several bodies: one for each of `parts`, which are lists of positions of
    records.

    Raises:
        RecordsRefused: the body's ids don't fit its records.
    """
    found = _decode_raw(body)
    if found.ids and (fault := _ids(found.ids, len(found.records))):
        raise RecordsRefused([fault])
    return [
        msgspec.json.encode(
            _Raw([found.records[place] for place in places], [found.ids[place] for place in places if found.ids])
        )
        for places in parts
    ]


def why_untold(value: Any, *, is_time: bool) -> str | None:
    """Return why a value can't be a record's key (with `is_time`: its time), or None if it can."""
    if value is None or value == "":
        return "it is missing" if value is None else "it is empty"
    try:
        if is_time:
            moment(value)
    except ValueError:
        return f"{_brief(value)}: Expected a date or time, such as `2026-01-31` or `2026-01-31T12:00:00Z`"
    return None


def _ids(ids: Sequence[str], count: int) -> Fault | None:
    if len(ids) != count:
        return Fault(what=f"there are {count:,} records and {len(ids):,} ids; give each record an id, or none")
    return Fault(what="an id is given twice") if len(set(ids)) < count else None


def _brief(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return f"`{text[:SHOWN]}{'...' * (len(text) > SHOWN)}`"


def _told(column: Column, strictness: Strictness, *, may_be_null: bool) -> Meta:
    """Return a column's description, and its categories if it has some, for the schema of records."""
    if column.categories is None:
        return Meta(description=column.type)
    if strictness.unseen == "take":
        return Meta(description=column.type, examples=list(column.categories))
    known = [*column.categories, *[None] * may_be_null]
    return Meta(description=column.type, extra_json_schema={"enum": known})


def _type(column: Column, kind: str | None = None) -> Any:
    """Return the Python type that a column's values have in JSON. `kind` is the name of the column's type in Arrow."""
    if _UNNAMED.search(column.name):
        raise UsageError(
            f"records in JSON can't have a column named {column.name!r:.80}",
            hint='register the model with names that have no `"`, no `\\` and no new line',
        )
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
        hint="send this endpoint rows as an Arrow stream",
    )


_ID: Any = Annotated[str, Meta(min_length=1, max_length=200)]
_UNIQUE = Meta(extra_json_schema={"uniqueItems": True})
_UNNAMED = re.compile(r'["\\\x00-\x1f]')
"""Characters that msgspec doesn't allow in the name of a field."""
_LOCAL_TIME: Any = Annotated[datetime, Meta(tz=False, extra_json_schema={"format": "date-time-local"})]
_TEXT: Any = Annotated[str, Meta(min_length=1, max_length=200)]
_DATE: Any = Annotated[
    str,
    Meta(min_length=1, max_length=200, extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}]}),
]
_BESIDE: tuple[Any, Any] = (_TEXT | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | float | bool, _DATE)
"""The types of keys and of times in JSON, for key and time columns that the model doesn't take."""
_TYPES: dict[str, Any] = {
    "bool": bool,
    "double|float|halffloat": float,
    "string|large_string|string_view": str,
    r"date(32|64)\[\w+\]": date,
    r"time(32|64)\[\w+\]": Annotated[time, Meta(extra_json_schema={"format": "time-local"})],
    r"decimal\d+\(\d+, -?\d+\)": Decimal,
}
"""The types of values in JSON, by patterns of Arrow's names."""
