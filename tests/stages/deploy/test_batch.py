"""`deploy.batch` as a plain function: what it answers, and what it delivers to files and databases."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from headrace.define.attempt import Alone
from headrace.define.ports import running
from headrace.define.version import Version
from headrace.errors import DataError, DefinitionError, HeadraceError, SourceError, UsageError
from headrace.spec.artifact import Ref
from headrace.stages import deploy, prepare
from headrace.stages._batch import database
from headrace.stages._batch.database import to_database
from headrace.stages._batch.parquet import to_parquet
from tests.servers.postgres import PASSWORD, Postgres
from tests.stages.ingest.sources import Source, source_in

ROWS = pa.table({"id": range(25), "x": [float(each) for each in range(25)]})


class Twice:
    """A model that gives 2 x, and remembers how many rows it was asked about at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def predict(self, frame: Any) -> Any:
        self.asked.append(len(frame))
        return frame["x"].to_numpy() * 2


class Odd:
    """A model whose answers are texts from the row 10 on."""

    def predict(self, frame: Any) -> Any:
        return frame["x"].to_numpy() if frame["x"].max() < 10 else np.asarray(["a"] * len(frame), object)


def halves(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from rows.to_batches(max_chunksize=4)


def batch(rows: Any = ROWS, model: Any = None, **options: Any) -> pa.Table:
    return deploy.batch(Twice() if model is None else model, rows, **{"keep": "id", **options})


def expected(rows: pa.Table = ROWS) -> pa.Table:
    return pa.table({"id": rows["id"], "predicted": [2 * each for each in rows["x"].to_pylist()]})


@pytest.mark.parametrize("part_rows", [1, 7, 25, 100, None])
@pytest.mark.parametrize("is_stream", [False, True])
def test_parts_of_any_size_have_the_same_rows_as_the_whole(part_rows: int | None, is_stream: bool) -> None:
    model = Twice()
    rows: Any = halves(ROWS) if is_stream else ROWS
    assert batch(rows, model, part_rows=part_rows).equals(expected())
    assert sum(model.asked) == 25
    assert max(model.asked) == min(part_rows or 25, 25)


def test_a_classifier_gives_its_class_and_the_probability_of_each() -> None:
    frame = ROWS.select(["x"]).to_pandas()
    model = LogisticRegression().fit(frame, np.where(frame["x"] > 12, "late", "punctual"))
    found = batch(model=model, part_rows=10, into="said")
    assert found.column_names == ["id", "said", "said_late", "said_punctual"]
    assert found["said"].to_pylist() == model.predict(frame).tolist()
    assert np.allclose(found["said_late"].to_numpy(), model.predict_proba(frame)[:, 0])


def test_a_row_that_the_preparation_refuses_has_no_answer_wherever_it_stands() -> None:
    cleaned = prepare.clean(ROWS, [prepare.Drop(where="x < 12", quarantine=True)])
    found = batch(part_rows=5, preparation=cleaned)
    assert found["id"].to_pylist() == list(range(25))
    assert found["predicted"].to_pylist() == [None] * 12 + [2.0 * each for each in range(12, 25)]
    assert batch(ROWS.slice(0, 8), preparation=cleaned.preparation)["predicted"].to_pylist() == [None] * 8


def test_versions_of_models_and_datasets_are_taken_too() -> None:
    prepared = prepare.clean(ROWS, [prepare.Drop(where="x < 12", quarantine=True)]).preparation
    found = batch(Version("dataset", "rows", 2, ROWS), Version("model", "twice", 3, Twice(), prepared))
    assert found["predicted"].null_count == 12
    with pytest.raises(UsageError, match="no version of the dataset `rows`"):
        batch(Version("dataset", "rows", 0, None))


def test_no_rows_have_no_answers() -> None:
    assert batch(ROWS.slice(0, 0)).column_names == ["id", "predicted"]
    assert len(batch(pa.RecordBatchReader.from_batches(ROWS.schema, []))) == 0


def test_answers_whose_type_changes_on_the_way_are_refused() -> None:
    with pytest.raises(DataError, match="another column or type than those before: `predicted`"):
        batch(model=Odd(), part_rows=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "ident"}, "no column `ident`"),
        ({"rows": ROWS.drop_columns(["x"])}, "x"),
        ({"model": 3}, "has no `predict`"),
        ({"rows": ROWS.to_pandas()}, "`rows` is a `DataFrame`"),
        ({"preparation": {}}, "`preparation` is a `dict`"),
        ({"into": "id"}, "names the column `id`, and the answers have that name"),
        ({"part_rows": 0}, "`part_rows` is 0"),
        ({"keep": 3}, "`keep` is 3"),
        ({"endpoint": "a/b"}, "`endpoint` is 'a/b'"),
        ({"to": "out.csv"}, "`to` is `out.csv`"),
        ({"to": "out.parquet", "table": "t"}, "`table=` is for a database"),
        ({"key": "id"}, "`key=` is for a database"),
        ({"to": "sqlite:///a.db", "table": "t"}, "needs `key=`"),
        ({"to": "sqlite:///a.db", "key": "id"}, "needs `table=`"),
        ({"to": "ftp://host/a.parquet"}, "can't be delivered to `ftp`"),
        ({"to": "s3://bucket"}, "`to` is `s3://bucket`"),
        ({"to": "s3://bucket/"}, "`to` is `s3://bucket/`"),
        ({"to": "s3://bucket/a.csv"}, "`to` is `s3://bucket/a.csv`"),
        ({"to": "s3://bucket/a//b.parquet"}, "`to` is `s3://bucket/a//b.parquet`"),
        ({"to": "s3://bucket/../b/"}, "`to` is `s3://bucket/../b/`"),
        ({"to": "s3:///a.parquet"}, "names no bucket"),
        ({"to": "s3://key:pw@bucket/a.parquet"}, "holds credentials"),
        ({"to": "s3://bucket/a/", "bucket_endpoint": "server"}, "`bucket_endpoint` `server` is not an address"),
        ({"to": "s3://bucket/a/", "table": "t"}, "`table=` is for a database"),
        ({"to": "out.parquet", "bucket_region": "eu-west-1"}, "`bucket_region=` is for a bucket"),
        ({"to": 3}, "`to` is 3"),
        ({"to": "postgresql://ann:pw@host/db", "table": "t", "key": "id"}, "has a password in it"),
    ],
)
def test_what_cannot_be_right_is_one_clear_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, DefinitionError, KeyError), match=message) as caught:
        batch(**options)
    assert not isinstance(caught.value, HeadraceError) or caught.value.hint


# -- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_has_all_answers_and_nothing_else_is_left(folder: Path) -> None:
    assert batch(to="new/out.parquet").equals(expected())
    assert pq.read_table(folder / "new" / "out.parquet").equals(expected())
    assert os.listdir(folder / "new") == ["out.parquet"]


def test_a_file_of_an_earlier_batch_is_replaced_and_one_of_somebody_else_is_not(folder: Path) -> None:
    batch(to="out.parquet")
    batch(ROWS.slice(0, 3), to="out.parquet")
    assert pq.read_table("out.parquet").equals(expected(ROWS.slice(0, 3)))
    pq.write_table(ROWS, "mine.parquet")
    (folder / "folder.parquet").mkdir()
    for name in ("mine.parquet", "folder.parquet"):
        with pytest.raises(DataError, match=r"is there already, and `deploy\.batch` didn't write it"):
            batch(to=name)
    assert pq.read_table("mine.parquet").equals(ROWS)


def test_what_a_killed_attempt_has_left_is_overwritten(folder: Path) -> None:
    (folder / ".out.parquet.part").write_bytes(b"half of it")
    batch(to="out.parquet")
    assert os.listdir(folder) == ["out.parquet"]
    assert pq.read_table("out.parquet").equals(expected())


def test_two_tasks_do_not_write_one_file_at_the_same_time(folder: Path) -> None:
    with (folder / ".out.parquet.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="another task is writing"):
            batch(to="out.parquet")
    batch(to="out.parquet")


def test_a_retry_makes_a_file_durable_that_a_killed_attempt_has_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here(Alone):
        def ref(self, parameter: str) -> Ref:
            return Ref(digest="d", size=1, codec="arrow", type="pyarrow.lib.Table")

    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(name)
        if name == str(folder) and len(synced) == 2:
            raise KeyboardInterrupt  # the end of the first attempt

    monkeypatch.setattr(os, "fsync", fsync)
    token = running.set(Here())
    try:
        with pytest.raises(KeyboardInterrupt):
            to_parquet(ROWS, "out.parquet")
        assert to_parquet(ROWS, "out.parquet") is ROWS
    finally:
        running.reset(token)
    assert synced == [str(folder / ".out.parquet.part"), str(folder), str(folder)]


def test_a_path_that_leads_elsewhere_or_is_hidden_from_workers_is_refused(folder: Path) -> None:
    (folder / ".headrace").mkdir()
    with pytest.raises(SourceError, match="leads out of the project's folder"):
        batch(to="../out.parquet")
    for url in ("sqlite:///../out.db", "sqlite:///new/../../out.db?mode=rwc"):
        with pytest.raises(SourceError, match="leads out of the project's folder"):
            batch(to=url, table="delays", key="id")
    assert not (folder.parent / "out.db").exists()
    batch(to=f"sqlite:///{folder.parent}/full.db", table="delays", key="id")
    assert (folder.parent / "full.db").exists()
    with pytest.raises(SourceError, match="don't see the real folder"):
        batch(to=".headrace/out.parquet")
    with pytest.raises(SourceError, match="No such file or directory"):
        batch(to="/nowhere/out.parquet")


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(folder: Path) -> None:
    batch(ROWS.slice(0, 3), to="out.parquet")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel then refuses to write more, as on a full disk
    try:
        with pytest.raises(SourceError, match=r"can't write `.*out\.parquet`") as caught:
            batch(to="out.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in (caught.value.hint or "")
    assert os.listdir(folder) == ["out.parquet"]
    assert pq.read_table("out.parquet").equals(expected(ROWS.slice(0, 3)))


# -- databases ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """An empty database."""
    server: Postgres | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.setattr(database, "WRITE_ROWS", 10)
    return source_in(request.param, folder, server)


def deliver(target: Source, rows: pa.Table = ROWS, **options: Any) -> None:
    batch(rows, to=target.url, **{"table": "delays", "key": "id", "keep": (), **options})


def stored(target: Source) -> list[tuple[Any, ...]]:
    return sorted(target.run("select id, predicted from delays"))


def pairs(rows: pa.Table = ROWS) -> list[tuple[Any, ...]]:
    return [(each["id"], each["predicted"]) for each in expected(rows).to_pylist()]


def test_a_table_that_is_not_there_is_made_with_its_key(target: Source) -> None:
    deliver(target)
    assert stored(target) == pairs()
    with pytest.raises(Exception, match=r"(?i)unique"):
        target.run("insert into delays (id, predicted) values (1, 1)")
    assert [each[1:] for each in target.run("select * from headrace_batches")] == [("delays", 25, 25)]


def test_rows_with_a_known_key_are_replaced_and_others_stay(target: Source) -> None:
    target.run("create table delays (id integer primary key, predicted real, said text default 'by hand')")
    target.run("insert into delays values (?, ?, ?)", [(3, 0.5, "mine"), (99, 0.25, "mine")])
    deliver(target)
    assert stored(target) == [*pairs(), (99, 0.25)]
    assert target.run("select said from delays where id in (3, 4, 99) order by id") == [
        ("mine",), ("by hand",), ("mine",),
    ]  # fmt: skip


def test_a_key_may_be_several_columns_and_a_table_may_have_nothing_else(target: Source) -> None:
    rows = ROWS.append_column("day", pa.array(["mo", "tu"] * 12 + ["mo"]))
    deliver(target, rows, key=["day", "id"])
    deliver(target, rows, key=["day", "id"])
    assert stored(target) == pairs()
    assert target.run("select count(*) from delays where day = 'mo'") == [(13,)]


def test_each_type_that_is_common_arrives(target: Source) -> None:
    moment, day = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None), date(2026, 1, 2)
    rows = pa.table(
        {
            "id": pa.array([1, 2], pa.uint32()),
            "x": [1.0, 2.0],
            "small": pa.array([-1, None], pa.int8()),
            "ok": [True, None],
            "name": pa.array(["ä'\"", None]).dictionary_encode(),
            "at": pa.array([moment, None], pa.timestamp("us")),
            "day": [day, None],
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(6, 2)),
            "raw": [b"\0\xff", None],
            "none": pa.nulls(2),
        }
    )
    deliver(target, rows, keep=[name for name in rows.column_names if name not in ("x", "predicted")])
    (first, second) = target.run("select id, small, ok, name, at, day, price, raw, none from delays order by id")
    if target.kind == "sqlite":
        assert first[:4] == (1, -1, 1, "ä'\"")
        assert (first[4][:19], first[5], first[6]) == ("2026-01-02 03:04:05", "2026-01-02", 1.5)
    else:
        assert first[:7] == (1, -1, True, "ä'\"", moment, day, Decimal("1.50"))
    assert bytes(first[7]) == b"\0\xff"
    assert second == (2, *[None] * 8)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (pa.table({"id": [1, 2, 1], "x": [1.0, 2.0, 3.0]}), {}, "1 rows have the key of an earlier row: `id` is 1"),
        (pa.table({"id": [1, None], "x": [1.0, 2.0]}), {}, "the key `id` is null"),
        (ROWS.append_column("list", pa.array([[1]] * 25)), {"keep": "list"}, "column `list` is `list"),
    ],
)
def test_rows_that_no_table_can_have_are_refused_before_anything_is_written(
    target: Source, rows: pa.Table, options: dict[str, Any], message: str
) -> None:
    target.run("create table delays (id integer primary key, predicted real)")
    with pytest.raises(DataError, match=message):
        deliver(target, rows, **options)
    assert stored(target) == []


def test_a_table_without_the_column_or_with_a_key_that_is_not_unique_is_refused(target: Source) -> None:
    target.run("create table delays (id integer, predict real)")
    with pytest.raises(DataError, match="the table `delays` has no column `predicted`") as caught:
        deliver(target)
    assert "`predict`" in (caught.value.hint or "")
    target.run("alter table delays add predicted real")
    with pytest.raises(DataError, match="several rows may have the same key: `id`") as caught:
        deliver(target)
    assert 'create unique index on "delays" ("id")' in (caught.value.hint or "")
    target.run("create unique index delays_by_id on delays (id)")
    deliver(target)
    assert stored(target) == pairs()


def test_a_part_that_fails_leaves_nothing_and_those_before_it_stay(target: Source) -> None:
    target.run("create table delays (id integer primary key, predicted real check (predicted < 30))")
    with pytest.raises(SourceError, match=r"the database `.*` says: .*(?i:check)") as caught:
        deliver(target)
    assert PASSWORD not in f"{caught.value}{caught.value.hint}"
    assert stored(target) == pairs(ROWS.slice(0, 10))
    assert [each[1:] for each in target.run("select * from headrace_batches")] == [("delays", 10, 25)]


def test_an_attempt_goes_on_after_the_last_part_of_its_run(target: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_RUN", "a run")
    target.run("create table delays (id integer primary key, predicted real check (predicted < 30))")
    table, secrets = expected(), {"PW": PASSWORD}
    with pytest.raises(SourceError):
        to_database(table, target.url, "delays", key=("id",), secrets=secrets)
    target.run("update delays set predicted = 0 where id = 3")  # nobody writes over it
    if target.kind == "sqlite":
        target.run("alter table delays rename to old")
        target.run("create table delays (id integer primary key, predicted real)")
        target.run("insert into delays select * from old")
    else:
        target.run("alter table delays drop constraint delays_predicted_check")
    to_database(table, target.url, "delays", key=("id",), secrets=secrets)
    changed = [(id_, 0.0 if id_ == 3 else value) for id_, value in pairs()]
    assert stored(target) == changed
    to_database(table, target.url, "delays", key=("id",), secrets=secrets)
    assert stored(target) == changed
    monkeypatch.setenv("HEADRACE_RUN", "another run")
    to_database(table, target.url, "delays", key=("id",), secrets=secrets)
    assert stored(target) == pairs()


def test_of_many_deliveries_that_create_the_same_tables_at_once_none_fails(target: Source) -> None:
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            delivered = [pool.submit(deliver, target, ROWS.slice(3 * each, 3)) for each in range(8)]
        assert [each.exception() for each in delivered] == [None] * 8
        assert stored(target) == pairs(ROWS.slice(0, 24))
        target.run("drop table delays")
        target.run("drop table headrace_batches")


def test_a_database_that_cannot_be_reached_is_one_clear_error(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no folder `.*nowhere`"):
        batch(to="sqlite:///nowhere/out.db", table="delays", key="id")
    with pytest.raises(SourceError, match="says: "):
        batch(to="postgresql://ann@127.0.0.1:1/db", table="delays", key="id")
    assert not os.listdir(folder)
