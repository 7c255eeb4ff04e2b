"""Columns that an endpoint drops are in nothing that it logs, and columns that it hashes are in it as hashes only."""

from __future__ import annotations

import hmac
import json
import struct
from datetime import UTC, date, datetime
from typing import Any, cast

import msgspec
import pyarrow as pa
import pytest

from headrace.errors import ConfigError
from headrace.inspect.endpoints.marks import marks_in
from headrace.inspect.endpoints.redaction import same_keys
from headrace.models.fitting import column_of
from headrace.models.labels import MADE, resolved, table_by_key
from headrace.models.streams import stream_of, table_in
from headrace.project.serving import ServeSection
from headrace.serve.app import Asked
from headrace.serve.inference.tensors import inquiry_in
from headrace.serve.predictions.keeping import Keeping
from headrace.serve.predictions.part import UNREAD, parts
from headrace.serve.predictions.prediction import Answered
from headrace.serve.predictions.redaction import PREFIX, Hasher, Redaction
from headrace.serve.predictions.segment import Contents, Logged
from headrace.serve.records import Records, Strictness
from headrace.spec.endpoint import Route, key_text, sole
from headrace.spec.signature import Column
from tests.serve.predictions.samples import answered
from tests.serve.test_live import Bed, run

SECRET = "a secret of the tests, and of nobody else"
HASHER = Hasher(SECRET)
ANNA, INCOME = "anna-7f3a9c", 98765.4321
PEOPLE = Records(
    [Column(name="x", type="double"), Column(name="income", type="double"), Column(name="customer", type="string")],
    Strictness(),
    most=100,
)
HIDING = Redaction(frozenset({"income"}), frozenset({"customer"}), HASHER)
ROUTE = sole("delays", 3)


def shows(data: bytes) -> bool:
    """Return whether bytes have the customer or the income, as a text or as a number."""
    return any(each in data for each in (ANNA.encode(), b"98765.4321", struct.pack("<d", INCOME)))


@pytest.mark.parametrize(
    "values",
    [
        [17, 17.0, "17", b"17"],
        [date(2026, 1, 31), "2026-01-31"],
        [datetime(2026, 1, 31, 8, tzinfo=UTC), "2026-01-31T08:00:00+00:00"],
        [True, "True"],
        ["é", "é".encode()],
        [""],
        ["Anna"],
        ["anna"],
        ["anna "],
        ["17.0"],
        ["017"],
        [17.5, "17.5"],
    ],
)
def test_values_have_the_same_hash_if_they_are_the_same_key(values: list[object]) -> None:
    (text,) = {HASHER.hashed(each) for each in values}
    assert text is not None
    prefix, mark, digest = text.split(":")
    assert (prefix, mark) == ("hmac", HASHER.mark)
    plain = cast("str", next(each for each in reversed(values) if isinstance(each, str)))
    assert digest == hmac.digest(SECRET.encode(), plain.encode(), "sha256").hex()


def test_a_null_stays_null_and_another_secret_gives_another_hash_and_mark() -> None:
    assert HASHER.hashed(None) is None
    other = Hasher(f"{SECRET}!")
    assert other.mark != HASHER.mark
    assert f"{other.hashed(ANNA)}"[-64:] != f"{HASHER.hashed(ANNA)}"[-64:]
    assert HASHER.once(f"{other.hashed(ANNA)}") == other.hashed(ANNA)
    assert HASHER.once("hmac:anna") == HASHER.hashed("hmac:anna")
    assert SECRET not in repr(HASHER)


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "b", "a"]),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array(["a", None, "b", "a"], pa.large_string()),
        pa.array([b"a", None, b"b", b"a"]),
        pa.array([1, None, 2, 1], pa.int8()),
        pa.array([1.0, None, 0.5, 1.0]),
        pa.array([1.0, None, 0.5, 1.0], pa.float16()),
        pa.array([True, None, False, True]),
        pa.array([date(2026, 1, 31), None, date(2026, 2, 1), date(2026, 1, 31)]),
        pa.array([1, None, 2, 1], pa.timestamp("ns")),
        pa.array([["a"], None, ["b"], ["a"]]),
        pa.nulls(4),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_of_a_stream_is_hashed_value_by_value(values: pa.Array) -> None:
    table = pa.table({"customer": pa.chunked_array([values, values.slice(1)])})
    found = HIDING.table(table).column("customer")
    assert found.type == pa.string()
    one, null, two, same = found.slice(0, 4).to_pylist()
    assert null is None
    assert found.slice(4).to_pylist() == [null, two, same]
    if not pa.types.is_null(values.type):
        assert one == same
        assert one != two
        assert HASHER.once(one) == one


def test_a_stream_is_logged_without_dropped_columns_of_any_type_and_without_its_metadata() -> None:
    field = pa.field("x", pa.float64(), nullable=False, metadata={"who": ANNA})
    schema = pa.schema([field, ("income", pa.list_(pa.string())), ("income", pa.float64())], {"who": ANNA})
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([[ANNA]]), pa.array([INCOME])], schema=schema)
    data = stream_of(HIDING.table(table))
    assert not shows(data)
    assert table_in(data).to_pydict() == {"x": [1.0]}


def bed_of(bed: Bed, redaction: Redaction = HIDING) -> None:
    bed.rules = Keeping(bed.log, redaction=redaction)
    bed.records = {3: PEOPLE, 4: PEOPLE}


def rows_of(kept: Answered) -> list[dict[str, Any]]:
    if kept.form == "arrow":
        return table_in(kept.given).to_pylist()
    return cast("list[dict[str, Any]]", msgspec.json.decode(kept.given))


@pytest.mark.parametrize(
    "route",
    [
        ROUTE.shadowed(4),
        ROUTE.about("customer", None),
        ROUTE.about("account", "day"),
        ROUTE.about("customer", None).sharing("canary", 4, 0.5).shadowed(4),
        ROUTE.about("account", None).sharing("canary", 4, 0.5),
    ],
    ids=["shadow", "key", "key beside", "canary and shadow", "canary, key beside"],
)
def test_no_form_and_no_variant_logs_what_is_dropped_or_hashed(route: Route) -> None:
    names = [ANNA, "bob", ANNA]
    about = {"account": [f"account of {each}" for each in names], "day": ["2026-01-31"] * 3}
    columns = {"x": [1.0, 2.0, 3.0], "income": [INCOME] * 3, "customer": names}
    columns |= {name: about[name] for name in (route.key, route.time) if name in about}
    hiding = HIDING._replace(hashed=HIDING.hashed | {"account"})

    async def test(bed: Bed) -> None:
        bed_of(bed, hiding)
        bed.go(route)
        await bed.ready()
        await bed.until(lambda: all(bed.models.get(each) for each in route.versions))
        records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        answer = await bed.endpoint.predict(Asked(msgspec.json.encode({"records": records}), "", 7.0))
        assert len(answer.predictions) == 3
        await bed.endpoint.predict_stream(Asked(stream_of(pa.table(columns)), "", 7.0))
        tensors = [
            {"name": name, "shape": [3], "datatype": "FP64" if name in ("x", "income") else "BYTES", "data": values}
            for name, values in columns.items()
        ]
        await bed.endpoint.infer(Asked(b"", "", 7.0), inquiry_in(msgspec.json.encode({"inputs": tensors}), None), None)
        expected = 9 + (6 if route.shadow else 0)
        await bed.until(lambda: sum(each.count for each in bed.log.kept) == expected)
        for kept in bed.log.kept:
            assert not shows(kept.given)
            for row in rows_of(kept):
                assert row.keys() == columns.keys() - {"income"}
                assert row["customer"] in (HASHER.hashed(ANNA), HASHER.hashed("bob"))
                assert row.get("account") in (None, *(HASHER.hashed(each) for each in about["account"]))
                assert row.get("day") in (None, "2026-01-31")
        of_anna = [row for each in bed.log.kept for row in rows_of(each) if row["customer"] == HASHER.hashed(ANNA)]
        assert len(of_anna) == expected * 2 // 3

    run(test)


@pytest.mark.parametrize("redaction", [HIDING, Redaction()], ids=["hiding", "all"])
@pytest.mark.parametrize(
    "route",
    [ROUTE, ROUTE.about("account", None), ROUTE.about("account", None).sharing("canary", 4, 0.5)],
    ids=["alone", "key beside", "canary"],
)
def test_a_column_that_the_model_does_not_take_is_not_logged_from_a_stream(route: Route, redaction: Redaction) -> None:
    given = {
        "x": [1.0, 2.0],
        "income": [INCOME] * 2,
        "customer": [ANNA, "bob"],
        "email": [ANNA] * 2,
        "Income": [INCOME] * 2,
    }

    async def test(bed: Bed) -> None:
        bed_of(bed, redaction)
        bed.go(route)
        await bed.ready()
        await bed.until(lambda: all(bed.models.get(each) for each in route.versions))
        columns = given | ({"account": ["a", "b"]} if route.key else {})
        await bed.endpoint.predict_stream(Asked(stream_of(pa.table(columns)), "", 7.0))
        rows = [row for each in bed.log.kept for row in rows_of(each)]
        assert sum(each.count for each in bed.log.kept) == len(rows) == 2
        for row in rows:
            assert row.keys() == columns.keys() - {"email", "Income"} - redaction.dropped

    run(test)


@pytest.mark.parametrize(
    ("kind", "raw", "typed"),
    [
        (pa.decimal128(10, 2), [b'"17"', b"17.0", b'"17.00"', b'"1.7E1"'], "17"),
        (pa.decimal128(10, -1), [b'"20"', b"20.0", b'"2E1"'], "20"),
        (pa.decimal256(76, 2), [b'"-0.00"', b"0"], "0"),
        (pa.decimal256(76, 2), [b'"%s.5"' % (b"7" * 70)], f"{'7' * 70}.5"),
        (pa.float32(), [b"0.1"], "0.10000000149011612"),
        (
            pa.timestamp("us", "UTC"),
            [b'"2026-01-31T09:00:00+01:00"', b'"2026-01-31T08:00:00Z"'],
            "2026-01-31T08:00:00+00:00",
        ),
        (pa.int64(), [b"17"], "17"),
        (pa.string(), [b'"17"', b'"17"'], "17"),
    ],
    ids=str,
)
def test_equal_values_of_a_column_have_the_same_hash_in_all_forms_and_the_person_is_found(
    kind: pa.DataType, raw: list[bytes], typed: str
) -> None:
    takes = [Column(name="customer", type=str(kind))]
    body = b'{"records": [%s]}' % b",".join(b'{"customer": %s}' % each for each in raw)
    rows = Records(takes, Strictness(), most=100).rows(body)
    expected = [HASHER.hashed(typed)] * len(raw)
    assert HIDING.columns(rows.columns, takes)["customer"] == expected
    values = column_of(rows.columns["customer"], kind)
    assert {key_text(each) for each in values.to_pylist()} == {typed}, "`headrace erase` looks for this text"
    for table in (pa.table({"customer": values}), pa.table({"customer": values.dictionary_encode()})):
        assert HIDING.table(table, takes).column("customer").to_pylist() == expected
    wider = pa.table({"customer": pa.array([0.1], pa.float64())})
    if kind == pa.float32():
        assert HIDING.table(wider, takes).column("customer").to_pylist() == [
            HASHER.hashed(pa.scalar(0.1, kind).as_py())
        ]


def part_of(*entries: Answered) -> pa.Table:
    logged = [Logged(10 * place, each) for place, each in enumerate(entries)]
    kinds = pa.schema([("x", pa.float64()), ("income", pa.float64()), ("customer", pa.int64()), ("day", pa.date32())])
    return parts(Contents("w" * 12, 1, 0.0, tuple(logged)), {"delays:3": kinds})["delays"]


def test_a_part_has_no_dropped_column_and_a_hashed_number_or_day_is_a_text() -> None:
    rows = [{"x": 1.0, "customer": 17, "day": "2026-01-31"}, {"x": 2.0, "customer": None, "day": "2026-02-01"}]
    hiding = HIDING._replace(hashed=frozenset({"customer", "day"}))
    columns = hiding.columns({name: [row[name] for row in rows] for name in rows[0]} | {"income": [INCOME] * 2})
    given = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    one = answered(1, count=2, given=msgspec.json.encode(given))
    table = part_of(one, one)
    assert [(each.name, each.type) for each in table.schema.field("input").type] == [
        ("x", pa.float64()), ("customer", pa.string()), ("day", pa.string()),
    ]  # fmt: skip
    first, second = table.column("input").to_pylist()[:2]
    assert first == {"x": 1.0, "customer": HASHER.hashed(17), "day": HASHER.hashed("2026-01-31")}
    assert (second["x"], second["customer"]) == (2.0, None)


def test_requests_from_before_and_after_a_change_of_the_settings_are_in_one_part() -> None:
    old = answered(1, given=b'[{"x": 1.0, "income": 5.0, "customer": 17}]')
    new = answered(2, given=b'[{"x": 2.0, "customer": "%s"}]' % f"{HASHER.hashed(17)}".encode())
    found = part_of(old, new, old)
    rows = [each if isinstance(each, dict) else msgspec.json.decode(each) for each in found.column("input").to_pylist()]
    assert [row["x"] for row in rows] == [1.0, 2.0, 1.0]
    assert [row.get("income") for row in rows] == [5.0, None, 5.0]
    assert rows[1]["customer"] == HASHER.hashed(17)
    assert marks_in(found, ["customer"]) == {HASHER.mark: 1}


def test_rows_of_which_nothing_is_left_can_still_be_read() -> None:
    everything = Redaction(dropped=frozenset({"x", "income"}))
    stream = stream_of(everything.table(pa.table({"x": [1.0, 2.0], "income": [3.0, 4.0]})))
    arrow = msgspec.structs.replace(
        answered(1, count=2), form="arrow", given=stream, answers=stream_of(pa.table({"y": [1, 2]}))
    )
    for each in (arrow, answered(1, count=2, given=b"[{},{}]")):
        table = part_of(each)
        assert table.num_rows == 2
        assert UNREAD not in [field.name for field in table.schema.field("input").type]


def test_the_secrets_of_hashed_values_are_told_apart_without_knowing_them() -> None:
    other = Hasher("another secret of the tests")
    rows = pa.chunked_array([[
        {"customer": HASHER.hashed("a"), "friend": other.hashed("a")},
        {"customer": other.hashed("b"), "friend": None},
        {"customer": "hmac of nothing", "friend": HASHER.hashed("b")},
        {"customer": HASHER.hashed("a"), "friend": "hmac:"},
    ]])  # fmt: skip
    assert marks_in(pa.table({"input": rows}), ["customer"]) == {HASHER.mark: 2, other.mark: 1}
    texts = pa.chunked_array([[msgspec.json.encode(each).decode() for each in rows.to_pylist()]])
    assert marks_in(pa.table({"input": texts}), ["customer"]) == {HASHER.mark: 2, other.mark: 1}
    assert marks_in(pa.table({"input": pa.nulls(2), "customer": pa.nulls(2)}), ["customer"]) == {}
    hashed = pa.array([HASHER.hashed("a"), other.hashed("a"), None, "a"])
    odd = pa.Array.from_buffers(pa.string(), 1, pa.array([b"hmac:\xff"]).buffers())
    twice = pa.table([pa.array([1]), pa.array([2]), odd, odd], ["id", "id", "input", "customer"])
    assert marks_in(twice, ["customer"]) == {}, "tables of users may be odd"
    assert marks_in(pa.table({"id": [1], "input": ['{"(unread)":"YQ=="}']}), ["customer"]) == {}
    for column in (hashed, hashed.dictionary_encode(), hashed.cast(pa.large_string()), hashed.cast(pa.string_view())):
        assert marks_in(pa.table({"customer": column, "friend": hashed}), ["customer"]) == {
            HASHER.mark: 1,
            other.mark: 1,
        }


def test_secrets_are_told_wherever_a_person_is_found_and_a_row_with_two_values_counts_once() -> None:
    a, b = HASHER.hashed("a"), HASHER.hashed("b")
    assert a is not None
    both = {"customer": a, "friend": b}
    pairs = pa.map_(pa.string(), pa.string())
    for column in (
        pa.array([both]),
        pa.array([json.dumps(both)]),
        pa.array([{"inner": {"customer": a}}]),
        pa.array([[both, both]]),
        pa.array([[("customer", a)]], pairs),
        pa.StructArray.from_arrays([pa.array([a]).dictionary_encode()], ["customer"]),
    ):
        assert marks_in(pa.table({"input": column}), ["customer", "friend"]) == {HASHER.mark: 1}, column
    for column in (pa.array([[a, "c"]]), pa.array([a.encode()])):
        assert marks_in(pa.table({"customer": column, "friend": [b]}), ["customer", "friend"]) == {HASHER.mark: 1}
    clear = pa.table({"input": ['{"note": "hmac:deadbeef:"}'], "customer": ["hmac:"]})
    assert marks_in(clear, ["customer"]) == {}
    other = Hasher("another secret of the tests")
    two = pa.table({"input": [{"customer": a, "friend": other.hashed("a")}]})
    assert marks_in(two, ["customer", "friend"]) == {HASHER.mark: 1, other.mark: 1}


def test_the_secrets_of_values_in_requests_that_were_stored_as_bytes_are_told_too() -> None:
    hashed = [HASHER.hashed("a"), HASHER.hashed("b")]
    ids = part_of(answered(1, count=2, given=b"[{},{}]")).column("id")
    for data in (
        msgspec.json.encode([{"customer": each} for each in hashed]),
        stream_of(pa.table({"customer": hashed}), "zstd"),
    ):
        rows = pa.StructArray.from_arrays([pa.array([data, None], pa.binary())], [UNREAD])
        texts = pa.array([msgspec.json.encode({UNREAD: data}).decode(), "{}"])
        for column in (rows, texts):
            assert marks_in(pa.table({"id": ids, "input": column}), ["customer"]) == {HASHER.mark: 2}


def test_a_server_says_which_columns_it_can_not_drop_and_that_a_route_has_a_dropped_key() -> None:
    async def test(bed: Bed) -> None:
        bed_of(bed, Redaction(frozenset({"incone", "day"}), frozenset({"account"}), HASHER))
        bed.go(ROUTE)
        await bed.ready()
        told = [each for each in bed.said if "drop" in each]
        assert [each.split("`")[3] for each in told] == ["account", "day", "incone"]
        bed.said.clear()
        bed.go(ROUTE.about("day", "account"))
        await bed.until(lambda: len(bed.said) == 2)
        assert "drops its key `day`" in bed.said[0]
        assert "its time `account`" in bed.said[1]

    run(test)


def test_labels_find_predictions_by_key_from_before_and_after_the_key_was_hashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = [datetime(2026, 1, number, tzinfo=UTC) for number in (1, 2, 3, 4)]
    other = Hasher("another secret of the tests").hashed("anna")
    keys = ["anna", HASHER.hashed("anna"), other, f"{PREFIX}anna"]
    made = pa.table({"id": ["a", "b", "c", "d"], "at": day, "key": keys, "time": day}).cast(MADE)
    told = ["anna", "anna", "anna", f"{PREFIX}anna"]
    labels = table_by_key(told, day, ["1"] * 4, within_s=0, source="people", at=0.0)
    monkeypatch.setenv("LOG_SECRET", SECRET)
    settings = ServeSection(hash_secret="LOG_SECRET")
    assert resolved(*same_keys(settings, labels, made)).column("id").to_pylist() == ["a", "b", None, "d"]
    monkeypatch.delenv("LOG_SECRET")
    with pytest.raises(ConfigError, match="isn't set"):
        same_keys(settings, labels, made)
    found = resolved(*same_keys(ServeSection(), labels, made)).column("id").to_pylist()
    assert found == ["a", None, None, "d"], "a client may send keys that look hashed where nothing is"
    assert same_keys(settings, labels, made.slice(0, 1)) == (labels, made.slice(0, 1)), "no secret is needed"
