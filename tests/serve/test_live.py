"""Endpoints follow their routes: versions are loaded before they answer, and leave once they have answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, cast

import msgspec
import pyarrow as pa
import pytest

from headrace.errors import LogError
from headrace.models.streams import stream_of, table_in
from headrace.serve import live
from headrace.serve.app import Asked, Predicted
from headrace.serve.asking import ENDED, Model, ModelGone, Outcome, RowsRefused
from headrace.serve.choice import chosen
from headrace.serve.endpoint import MOST_MIRRORED, LiveEndpoint
from headrace.serve.live import Endpoints
from headrace.serve.metrics import LOG, MIRRORS, PREDICTIONS, RESTARTS, TAKEN, TOLD, WAITING, Metrics
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.keeping import Keeping
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.predictions.suspects import Suspect
from headrace.serve.queue import ModelBusy
from headrace.serve.records import Records, RecordsRefused, Strictness
from headrace.serve.running import Running
from headrace.spec.endpoint import Route, sole
from headrace.spec.signature import Column

RECORDS = Records([Column(name="x", type="double")], Strictness(), most=100)
PLACES = Records([Column(name="x", type="string", categories=("a", "b"))], Strictness(), most=100)
BODY = b'{"records": [{"x": 1.0}, {"x": 2.0}], "ids": ["one", "two"]}'


class Fake:
    """A model process that is one in name only: it adds its version to each number."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.is_alive = True
        self.is_held = asyncio.Event()
        self.is_held.set()
        self.error: Exception | None = None
        self.why = ""
        self.waiting = 0
        self.suspects: list[Suspect] = []
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask(self, columns: dict[str, list[float]], count: int, within_s: float, **_: Any) -> Outcome:
        del within_s
        await self.is_held.wait()
        if self.error is not None:
            raise self.error
        assert len(columns["x"]) == count
        return Outcome({"y": [each + self.version for each in columns["x"]]}, 0.001)

    async def ask_stream(self, arrow: bytes, count: int, within_s: float, **_: Any) -> Outcome:
        x = table_in(arrow).column("x").to_pylist()
        outcome = await self.ask({"x": x}, count, within_s)
        return Outcome({}, outcome.seconds, stream_of(pa.table(outcome.columns)))

    async def gone(self) -> str:
        return await self._gone

    async def why_ended(self) -> str:
        return self.why

    def end(self, why: str = ENDED) -> None:
        self.is_alive = False
        if not self._gone.done():
            self._gone.set_result(why)

    def close(self) -> None:
        self.end("it was ended")


def offset_of(place: int) -> int:
    """Return the offset of the first prediction of answers that were kept after so many others."""
    return 10 + 1_000 * place


class Log:
    """Keeps answers and feedback in lists."""

    def __init__(self) -> None:
        self.kept: list[Answered] = []
        self.told: list[Feedback] = []
        self.error: LogError | None = None

    async def keep(self, answered: Answered) -> PredictionId:
        if self.error is not None:
            raise self.error
        self.kept.append(answered)
        return PredictionId("0" * 12, 1, offset_of(len(self.kept) - 1), answered.salt)

    async def keep_feedback(self, feedback: Feedback) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(feedback)


class Bed:
    """Endpoints whose versions load when the test says so."""

    def __init__(self, **options: Any) -> None:
        self.log = Log()
        self.said: list[str] = []
        self.models: dict[int, list[Fake]] = {}
        self.may_load: dict[int, asyncio.Event] = {}
        self.records: dict[int, Records] = {}
        self.metrics = Metrics()
        self.rules = Keeping(self.log)
        self.endpoints = Endpoints(self.start, self.keeping, self.said.append, metrics=self.metrics, **options)

    def keeping(self, endpoint: str) -> Keeping:
        del endpoint
        return self.rules

    async def start(self, endpoint: str, version: int) -> Running:
        await self.may_load.setdefault(version, _set()).wait()
        fake = Fake(version)
        self.models.setdefault(version, []).append(fake)
        records = self.records.get(version, RECORDS)
        return Running(f"{endpoint}:{version}", cast("Model", fake), records, fake.why_ended)

    def hold(self, version: int) -> asyncio.Event:
        """Keep a version from loading until the event is set."""
        self.may_load[version] = asyncio.Event()
        return self.may_load[version]

    def go(self, route: Route) -> None:
        self.endpoints.follow({route.endpoint: route})

    def model(self, version: int) -> Fake:
        return self.models[version][-1]

    @property
    def endpoint(self) -> LiveEndpoint:
        found = self.endpoints.find("delays")
        assert found is not None
        return found

    async def ask(self) -> Predicted:
        return await self.endpoint.predict(Asked(BODY, "", 1_000.0))

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110  tasks of the endpoints make it true
                await asyncio.sleep(0.001)

    async def ready(self) -> None:
        await self.until(self.endpoints.is_ready)


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def run(test: Callable[[Bed], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        bed = Bed(**options)
        await test(bed)
        await bed.endpoints.end()
        assert all(not each.is_alive for models in bed.models.values() for each in models), "a process stays"

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let versions start again soon."""
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.001)


def test_answers_are_kept_before_they_are_given() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 3))
        await bed.ready()
        answer = await bed.ask()
        assert answer.predictions == [{"y": 4.0}, {"y": 5.0}]
        assert (answer.variant, answer.version) == ("production", "delays:3")
        (kept,) = bed.log.kept
        assert (kept.count, kept.names, kept.at, kept.version) == (2, ("one", "two"), 1_000.0, "delays:3")
        assert msgspec.json.decode(kept.given) == [{"x": 1.0}, {"x": 2.0}]
        assert msgspec.json.decode(kept.answers or b"") == answer.predictions
        assert answer.ids == [f"000000000000-1-{offset}-{kept.salt:016x}" for offset in (10, 11)]
        bed.log.error = LogError("the disk is full")
        with pytest.raises(LogError):
            await bed.ask()

    run(test)


def test_a_stream_of_arrow_is_answered_by_one_with_ids_and_kept_as_it_came() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 3).shadowed(4))
        await bed.ready()
        given = stream_of(pa.table({"x": [1.0, 2.0, 5.0]}))
        answer = await bed.endpoint.predict_stream(Asked(given, "", 7.0))
        table = table_in(answer.stream)
        assert table.column_names == ["id", "y"]
        assert table.column("y").to_pylist() == [4.0, 5.0, 8.0]
        assert (answer.variant, answer.version) == ("production", "delays:3")
        (kept,) = bed.log.kept
        assert (kept.count, kept.form, kept.given) == (3, "arrow", given)
        assert table_in(kept.answers or b"").column("y").to_pylist() == [4.0, 5.0, 8.0]
        assert table.column("id").to_pylist() == [f"000000000000-1-{at}-{kept.salt:016x}" for at in (10, 11, 12)]
        none, many = (stream_of(pa.table({"x": [0.0] * count})) for count in (0, 100_001))
        for wrong in (b"", b"no stream", given[:-30], none, many):
            with pytest.raises(RowsRefused):
                await bed.endpoint.predict_stream(Asked(wrong, "", 7.0))
        assert len(bed.log.kept) == 1

    run(test)


def records_of(*customers: object) -> bytes:
    """Return the body of a request about customers: `x` is the record's number."""
    told = [{"x": float(number), "customer": each, "day": "2026-01-31"} for number, each in enumerate(customers)]
    return msgspec.json.encode({"records": told, "ids": [f"id {number}" for number in range(len(told))]})


def test_whom_and_when_an_answer_is_about_is_kept_and_not_passed_to_the_model() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 3).about("customer", "day"))
        await bed.ready()
        answer = await bed.endpoint.predict(Asked(records_of(17, "b"), "", 7.0))
        assert answer.predictions == [{"y": 3.0}, {"y": 4.0}]
        assert msgspec.json.decode(bed.log.kept[0].given) == [
            {"x": 0.0, "customer": "17", "day": "2026-01-31"},
            {"x": 1.0, "customer": "b", "day": "2026-01-31"},
        ]
        with pytest.raises(RecordsRefused):
            await bed.ask()
        day, x = pa.array([date(2026, 1, 31), date(2026, 2, 1)]), pa.array([1.0, 2.0])
        stream = stream_of(pa.table({"customer": [17, 18], "x": x, "day": day}))
        answer = await bed.endpoint.predict_stream(Asked(stream, "", 7.0))
        assert table_in(answer.stream).column("y").to_pylist() == [4.0, 5.0]
        assert table_in(bed.log.kept[1].given).to_pylist() == [
            {"customer": "17", "x": 1.0, "day": "2026-01-31"},
            {"customer": "18", "x": 2.0, "day": "2026-02-01"},
        ]

    run(test)


@pytest.mark.parametrize(
    ("columns", "faults"),
    [
        ({}, [("customer", "it is missing"), ("day", "it is missing")]),
        ({"customer": ["a", None], "day": ["2026-01-31"] * 2}, [("customer", "row 1: it is missing")]),
        ({"customer": ["a", ""], "day": ["2026-01-31", "soon"]}, [
            ("customer", "row 1: it is empty"),
            ("day", 'row 1: `"soon"`: Expected a date or time, such as `2026-01-31` or `2026-01-31T12:00:00Z`'),
        ]),
        ({"customer": [[1], [2]], "day": [1, 2]}, [
            ("customer", "`list<item: int64>`: Expected texts or numbers"),
            ("day", "`int64`: Expected dates or times"),
        ]),
        ({"customer": ["a", "b"], "day": pa.array([1 << 60] * 2, pa.timestamp("s"))}, [
            ("day", "a value can't be read: "),
        ]),
    ],
)  # fmt: skip
def test_rows_in_arrow_that_do_not_tell_whom_or_when_they_are_about_are_refused(
    columns: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 3).about("customer", "day"))
        await bed.ready()
        with pytest.raises(RecordsRefused) as refused:
            await bed.endpoint.predict_stream(Asked(stream_of(pa.table({"x": [1.0, 2.0], **columns})), "", 7.0))
        for fault, (field, what) in zip(refused.value.faults, faults, strict=True):
            assert (fault.field, fault.what[: len(what)]) == (field, what)

    run(test)


def test_answers_in_arrow_that_can_not_be_joined_are_not_kept() -> None:
    customers = [f"customer {number}" for number in range(20)]
    table = pa.table({"x": [1.0] * 20, "customer": customers, "day": ["2026-01-31"] * 20})

    async def test(bed: Bed) -> None:
        route = sole("delays", 1).sharing("canary", 2, 0.5).about("customer", "day")
        bed.go(route)
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        await bed.ready()
        counts = Counter(chosen(route, each).version for each in customers)

        async def no_text(arrow: bytes, count: int, within_s: float, **_: Any) -> Outcome:
            del arrow, within_s
            assert count == counts[2]
            return Outcome({}, 0.001, stream_of(pa.table({"y": [b"\xff"] * count})))

        bed.model(2).ask_stream = no_text  # type: ignore[method-assign]
        with pytest.raises(pa.ArrowInvalid):  # a number and bytes that are no text
            await bed.endpoint.predict_stream(Asked(stream_of(table), "", 7.0))
        assert not bed.log.kept  # else a client that asks again would be in the log twice

    run(test)


def test_the_variant_is_chosen_by_the_key_of_each_record() -> None:
    customers = [f"customer {number % 40}" for number in range(100)]

    async def test(bed: Bed) -> None:
        route = sole("delays", 1).sharing("canary", 2, 0.5).about("customer", "day")
        bed.go(route)
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        await bed.ready()
        wanted = [chosen(route, each).version for each in customers]
        assert set(wanted) == {1, 2}
        answer = await bed.endpoint.predict(Asked(records_of(*customers), "", 7.0))
        assert answer.predictions == [{"y": float(x + version)} for x, version in enumerate(wanted)]
        assert (answer.variant, answer.version) == (None, None)
        assert answer.versions == [f"delays:{version}" for version in wanted]
        assert answer.variants == [("production", "canary")[version - 1] for version in wanted]
        assert len({*answer.ids}) == len(answer.ids) == 100
        rows = {
            name: (each.version, row)
            for each in bed.log.kept
            for name, row in zip(each.names, msgspec.json.decode(each.given), strict=True)
        }
        assert rows == {
            f"id {x}": (f"delays:{version}", {"x": float(x), "customer": customer, "day": "2026-01-31"})
            for x, (customer, version) in enumerate(zip(customers, wanted, strict=True))
        }
        table = pa.table({"x": [float(x) for x in range(100)], "customer": customers, "day": ["2026-01-31"] * 100})
        streamed = await bed.endpoint.predict_stream(Asked(stream_of(table), "", 7.0))
        found = table_in(streamed.stream)
        assert found.column_names == ["id", "variant", "version", "y"]
        assert found.drop_columns(["id", "version"]).to_pylist() == [
            {"variant": variant, **prediction}
            for variant, prediction in zip(answer.variants, answer.predictions, strict=True)
        ]
        assert {*streamed.variant.split(", ")} == {"production", "canary"}
        logged = [one for each in bed.log.kept[-2:] for one in table_in(each.given).column("customer").to_pylist()]
        firsts = {
            each.version: offset_of(len(bed.log.kept) - 2 + place) for place, each in enumerate(bed.log.kept[-2:])
        }
        assert len(logged) == 100
        for version, first in firsts.items():
            of_version = found.filter(pa.compute.equal(found.column("version"), version)).column("id").to_pylist()
            assert [int(each.split("-")[2]) for each in of_version] == [first + row for row in range(len(of_version))]
        for customer, version in zip(customers, wanted, strict=True):
            alone = await bed.endpoint.predict(Asked(records_of(customer), "", 7.0))
            assert (alone.version, alone.variants) == (f"delays:{version}", ())

    run(test)


def test_a_request_of_which_one_variant_refuses_a_part_is_refused_as_a_whole() -> None:
    async def test(bed: Bed) -> None:
        route = sole("delays", 1).sharing("canary", 2, 0.5).about("customer", "day")
        bed.go(route)
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        await bed.ready()
        (first, second) = (
            next(str(number) for number in range(99) if chosen(route, str(number)).version == version)
            for version in (1, 2)
        )
        body = records_of(first, second, first, second).replace(b'"x":2.0', b'"x":"much"').replace(b'"x":3.0', b'"z":3')
        with pytest.raises(RecordsRefused) as refused:
            await bed.endpoint.predict(Asked(body, "", 7.0))
        assert [(each.record, each.field) for each in refused.value.faults] == [(2, "x"), (3, "x"), (3, "z")]
        bed.model(2).error = RowsRefused("no")
        with pytest.raises(RowsRefused):
            await bed.endpoint.predict(Asked(records_of(first, second), "", 7.0))
        assert bed.log.kept == []
        bed.hold(2)
        bed.model(2).end()
        answer = await bed.endpoint.predict(Asked(records_of(first, second), "", 7.0))
        assert answer.predictions == [{"y": 1.0}, {"y": 2.0}]
        assert (answer.variant, answer.version, answer.variants) == ("production", "delays:1", ())

    run(test)


def test_records_that_do_not_fit_are_refused_and_not_kept() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        await bed.ready()
        with pytest.raises(RecordsRefused):
            await bed.endpoint.predict(Asked(b'{"records": [{"x": "much"}]}', "", 0.0))
        assert bed.log.kept == []

    run(test)


def test_an_endpoint_is_there_once_its_main_version_is_loaded() -> None:
    async def test(bed: Bed) -> None:
        loads = bed.hold(1)
        bed.go(sole("delays", 1).sharing("canary", 2, 0.5))
        await bed.until(lambda: 2 in bed.models)
        assert bed.endpoints.find("delays") is None
        assert not bed.endpoints.is_ready()
        loads.set()
        await bed.ready()
        versions = {(await bed.ask()).version for _ in range(100)}
        assert versions == {"delays:1", "delays:2"}

    run(test)


def test_a_new_main_version_answers_from_the_moment_it_is_loaded_and_no_request_fails() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        await bed.ready()
        loads = bed.hold(2)
        bed.go(sole("delays", 2))
        assert (await bed.ask()).version == "delays:1"
        bed.model(1).is_held.clear()
        slow = asyncio.ensure_future(bed.ask())
        await asyncio.sleep(0)
        loads.set()
        await bed.until(lambda: 2 in bed.models)
        assert (await bed.ask()).version == "delays:2"
        await asyncio.sleep(0.02)
        assert bed.model(1).is_alive, "it still answers a request"
        bed.model(1).is_held.set()
        assert (await slow).version == "delays:1"
        await bed.until(lambda: not bed.model(1).is_alive)

    run(test, keep_s=0.0)


def test_the_version_before_stays_loaded_so_a_rollback_takes_effect_at_once() -> None:
    async def test(bed: Bed) -> None:
        for version in (1, 2):
            bed.go(sole("delays", version))
            await bed.until(lambda: version in bed.models)  # noqa: B023
            await bed.ready()
        bed.go(sole("delays", 1))
        assert (await bed.ask()).version == "delays:1"
        assert len(bed.models[1]) == 1
        bed.go(sole("delays", 3))
        await bed.until(lambda: 3 in bed.models)
        await bed.until(lambda: not bed.model(2).is_alive)
        assert bed.model(1).is_alive

    run(test)


def test_a_version_that_is_given_up_while_it_loads_is_not_waited_for() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        await bed.ready()
        bed.hold(2)
        bed.go(sole("delays", 2))
        await asyncio.sleep(0.01)
        bed.go(sole("delays", 1))
        assert (await bed.ask()).version == "delays:1"
        bed.may_load[2].set()
        await asyncio.sleep(0.01)
        assert 2 not in bed.models

    run(test)


def test_a_process_that_ends_is_started_again_and_production_answers_for_a_canary_meanwhile() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1).sharing("canary", 2, 0.9))
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        await bed.ready()
        loads = bed.hold(2)
        bed.model(2).why = "it took too much memory"
        bed.model(2).end()
        assert {(await bed.ask()).version for _ in range(30)} == {"delays:1"}
        loads.set()
        await bed.until(lambda: len(bed.models[2]) == 2)
        assert "delays:2" in {(await bed.ask()).version for _ in range(30)}
        loads = bed.hold(1)
        endpoint = bed.endpoint
        bed.model(1).end()
        bed.model(2).why = "it was killed, because it was slow"
        bed.model(2).end("it was slow")
        bed.hold(2)
        assert bed.endpoints.find("delays") is None
        with pytest.raises(ModelGone, match="isn't running"):
            await endpoint.predict(Asked(BODY, "", 0.0))
        loads.set()
        await bed.ready()
        told = "the process of version 2 of endpoint `delays` can't answer any more: "
        ends = [each.removeprefix(told).partition(";")[0] for each in bed.said if each.startswith(told)]
        assert ends == ["it took too much memory", "it was slow"]

    run(test)


def test_the_old_version_comes_back_though_a_new_one_can_not_be_loaded() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        await bed.ready()
        bed.hold(2)
        bed.go(sole("delays", 2))
        bed.model(1).end()
        await bed.until(lambda: len(bed.models[1]) == 2)
        await bed.ready()
        assert (await bed.ask()).version == "delays:1"

    run(test)


@pytest.mark.parametrize("error", [ModelGone("it has no legs"), OSError("it has no legs")], ids=repr)
def test_a_version_that_can_not_be_started_is_told_and_tried_again(error: Exception) -> None:
    async def test(bed: Bed) -> None:
        fails = 3
        start = bed.endpoints._start

        async def bad(endpoint: str, version: int) -> Running:
            nonlocal fails
            fails -= 1
            if fails >= 0:
                raise error
            return await start(endpoint, version)

        bed.endpoints._start = bad
        bed.go(sole("delays", 1))
        await bed.ready()
        kind = "OSError: " * isinstance(error, OSError)
        assert [each for each in bed.said if "can't be started" in each] == [
            f"version 1 of endpoint `delays` can't be started: {kind}it has no legs; it is started again in {pause:g} s"
            for pause in (0.001, 0.002, 0.004)
        ]

    run(test)


def test_a_shadow_gets_copies_whose_answers_are_kept_and_disturbs_nobody() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1).shadowed(2))
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        assert (await bed.ask()).version == "delays:1"
        await bed.until(lambda: len(bed.log.kept) == 2)
        assert [(each.variant, each.version) for each in bed.log.kept] == [
            ("production", "delays:1"),
            ("shadow", "delays:2"),
        ]
        bed.model(2).is_held.clear()
        for _ in range(100):
            await bed.ask()
        bed.model(2).is_held.set()
        await bed.until(lambda: len(bed.log.kept) == 2 + 100 + MOST_MIRRORED)
        bed.model(2).error = ModelBusy("too much")
        assert (await bed.ask()).version == "delays:1"
        bed.model(2).end()
        assert (await bed.ask()).version == "delays:1"

    run(test)


def test_a_retired_endpoint_answers_no_more_and_only_the_named_ones_are_served() -> None:
    async def test(bed: Bed) -> None:
        assert not bed.endpoints.is_ready()
        bed.endpoints.follow({"delays": sole("delays", 1), "other": sole("other", 5)})
        await bed.ready()
        assert bed.endpoints.names() == ["delays"]
        assert 5 not in bed.models
        bed.endpoints.follow({})
        assert bed.endpoints.find("delays") is None
        await bed.until(lambda: not bed.model(1).is_alive)

    run(test, names=["delays"])


def test_what_endpoints_do_is_counted() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1).shadowed(2))
        await bed.until(lambda: {1, 2} <= bed.models.keys())
        bed.model(2).is_held.clear()
        for _ in range(MOST_MIRRORED + 3):
            await bed.ask()
        bed.model(2).is_held.set()
        await bed.until(lambda: len(bed.log.kept) == 2 * MOST_MIRRORED + 3)
        bed.model(2).error = ModelBusy("too much")
        await bed.ask()
        await bed.endpoint.predict_stream(Asked(stream_of(pa.table({"x": [1.0, 2.0, 5.0]})), "", 7.0))
        bed.model(1).waiting = 5
        asked = MOST_MIRRORED + 4
        counted = bed.metrics.reading()
        assert counted.numbers[MIRRORS.name] == {
            ("delays", "answered"): MOST_MIRRORED,
            ("delays", "dropped"): 3,
            ("delays", "failed"): 1,
        }
        assert counted.numbers[PREDICTIONS.name] == {
            ("delays", "production", "delays:1"): 2 * asked + 3,
            ("delays", "shadow", "delays:2"): 2 * MOST_MIRRORED,
        }
        assert counted.spreads[LOG.name][("delays",)].count == asked + 1 + MOST_MIRRORED
        assert counted.numbers[WAITING.name] == {("delays", "delays:1"): 5, ("delays", "delays:2"): 0}
        assert counted.numbers[RESTARTS.name] == {}
        bed.model(1).end()
        await bed.until(lambda: len(bed.models[1]) == 2)
        assert bed.metrics.reading().numbers[RESTARTS.name] == {("delays", "delays:1"): 1}

    run(test)


def test_values_that_are_taken_though_they_do_not_fit_are_counted() -> None:
    async def test(bed: Bed) -> None:
        bed.records[1] = PLACES
        bed.go(sole("delays", 1))
        await bed.ready()
        bed.model(1).error = RowsRefused("it takes numbers")
        with pytest.raises(RowsRefused):
            await bed.endpoint.predict(Asked(b'{"records": [{"x": "a"}, {"x": "c"}, {"x": "d"}]}', "", 0.0))
        assert bed.metrics.reading().numbers[TAKEN.name] == {("delays", "unseen"): 2}

    run(test)


def test_who_asks_hears_which_variant_answers_also_if_it_fails() -> None:
    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        await bed.ready()
        bed.model(1).error = ModelBusy("too much")
        told: list[tuple[str, str]] = []
        for ask in (bed.endpoint.predict, bed.endpoint.predict_stream):
            body = BODY if ask == bed.endpoint.predict else stream_of(pa.table({"x": [1.0]}))
            with pytest.raises(ModelBusy):
                await ask(Asked(body, "", 0.0, lambda *answers: told.append(answers)))
        assert told == [("production", "delays:1")] * 2

    run(test)


LABELS = b'{"labels": [{"id": "0a1b2c3d4e5f-1-0-00000000000000ff", "label": 3.5}], "source": "billing"}'


def test_labels_are_kept_even_while_no_version_is_loaded() -> None:
    async def test(bed: Bed) -> None:
        bed.hold(1)
        bed.go(sole("delays", 1))
        endpoint = bed.endpoints.get("delays")
        assert endpoint is not None
        assert bed.endpoints.find("delays") is None
        assert await endpoint.feedback(LABELS) == 1
        (told,) = bed.log.told
        assert (told.endpoint, told.source, told.labels) == (
            "delays",
            "billing",
            (("0a1b2c3d4e5f-1-0-00000000000000ff", 3.5),),
        )
        bed.log.error = LogError("no disk")
        with pytest.raises(LogError):
            await endpoint.feedback(LABELS)
        assert bed.endpoints.get("other") is None
        assert bed.metrics.reading().numbers[TOLD.name] == {("delays",): 1}

    run(test)


def test_a_label_that_comes_later_never_has_an_earlier_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1_000.0, 900.0, 1_001.0])
    monkeypatch.setattr(time, "time", lambda: next(now))

    async def test(bed: Bed) -> None:
        bed.go(sole("delays", 1))
        endpoint = bed.endpoints.get("delays")
        assert endpoint is not None
        for _ in range(3):
            await endpoint.feedback(LABELS)
        assert [each.at for each in bed.log.told] == [1_000.0, 1_000.0, 1_001.0]

    run(test)


def test_a_version_that_takes_other_columns_than_production_is_told_once() -> None:
    async def test(bed: Bed) -> None:
        bed.records[2] = Records(
            [Column(name="x", type="string"), Column(name="z", type="int8")], Strictness(), most=100
        )
        bed.records[3] = Records([Column(name="x", type="float")], Strictness(), most=100)
        bed.go(sole("delays", 1).sharing("canary", 2, 0.1).shadowed(3))
        await bed.until(lambda: {1, 2, 3} <= bed.models.keys())
        bed.go(sole("delays", 1).sharing("canary", 2, 0.2))
        await bed.ready()
        told = [each for each in bed.said if "other columns" in each]
        assert len(told) == 1
        assert told[0].startswith(
            "version 2 of endpoint `delays` takes other columns than version 1, its `production`: `x`, `z`. Records"
        )

    run(test)
