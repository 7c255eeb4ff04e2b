"""After an erasure, the next run reads what it needs again, and what can't be read any more says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import RefusedError
from headrace.inspect.endpoints.routes import endpoints
from headrace.inspect.views import read
from headrace.ledger.ledger import Ledger
from headrace.ledger.registry import register, reroute
from headrace.operate.endpoints.routes import main, promote, rollback
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.register import point
from headrace.project.state import open_ledger, reading_store, views
from headrace.spec.artifact import decode_ref
from headrace.spec.endpoint import sole
from headrace.spec.intent import Register
from tests.operate.test_erase import ANNA, files_with, load, log, of
from tests.projects import Project as Folder
from tests.projects import lent

ROWS = 1_000
PIPELINES = """
from typing import NamedTuple

import pyarrow as pa

import headrace as hr
from headrace.stages import ingest, registry


@hr.stage
def total(rows: pa.Table, new: pa.Table) -> str:
    return f"{len(rows)} rows, {len(new)} new"


@hr.pipeline
def orders() -> None:
    read = ingest.sql(
        "sqlite:///w.db", "select * from t", mode="increment", watermark="changed", key="id", cursor="orders"
    )
    total(read.table, read.new)


@hr.stage(cache=False)
def last(at: hr.Cursor) -> str:
    hr.advance(at, {"rows": pa.table({"customer": [f"anna-{'7f3a9c'}"]}), "at": 7})
    return "from the beginning" if at.value is None else f"from {at.value['at']}"


@hr.pipeline
def small() -> None:
    last(hr.cursor("small"))


@hr.pipeline
def files() -> None:
    registry.dataset("rows", ingest.files("in/*.csv"))


@hr.stage(cache=False)
def count(found: hr.Version) -> int:
    return len(found.value)


@hr.pipeline
def found() -> None:
    count(registry.find("dataset", "rows"))


@hr.stage
def made() -> pa.Table:
    return pa.table({"customer": [f"anna-{'7f3a9c'}"] * 1_000})


@hr.stage
def used(rows: pa.Table) -> int:
    folder = hr.attempt().project
    assert (folder / "ok").exists(), "not yet"
    return len(rows)


@hr.pipeline
def use() -> None:
    used(made())


class Halves(NamedTuple):
    whole: pa.Table
    rest: pa.Table


@hr.stage
def halves(rows: pa.Table) -> Halves:
    return Halves(rows, pa.table({"x": [1, 2, 3]}))


@hr.stage(kind="train")
def fit(rows: pa.Table) -> dict:
    return {"weight": len(rows)}


@hr.pipeline
def learn() -> None:
    fit(halves(made()).whole)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A project whose endpoint has a log, with a database and a file that have the person."""
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as lended:
        lended.write("pipelines.py", PIPELINES)
        with closing(sqlite3.connect(lended.root / "w.db")) as db, db:
            db.execute("create table t (id integer, customer text, changed integer)")
            rows = [(number, ANNA if number == 7 else f"customer {number}", number) for number in range(ROWS)]
            db.executemany("insert into t values (?, ?, ?)", rows)
        (lended.root / "in").mkdir()
        lended.write("in/one.csv", "customer,x\n" + "".join(f"{ANNA},{number}\n" for number in range(ROWS)))
        log(load(lended.root), ["bob"])
        seal_predictions(load(lended.root))
        yield lended


def run(folder: Folder, name: str) -> dict[str, str]:
    """Run a pipeline, and return what each of its tasks did, with the reason."""
    done = folder.headrace("run", name, "--json")
    assert done.code == 0, done
    return {each["name"]: (each["state"], each["reason"]) for each in done.json["tasks"]}


def output(folder: Folder, task: str) -> object:
    """Return the output of a task of the latest run."""
    project = load(folder.root)
    with views(project) as found:
        return Codecs().load(decode_ref(found.task("latest", task).out or b""), reading_store(project))


def test_an_increment_whose_rows_were_erased_is_read_again_from_the_beginning(folder: Folder) -> None:
    run(folder, "orders")
    with closing(sqlite3.connect(folder.root / "w.db")) as db, db:
        db.execute("delete from t where customer = ?", (ANNA,))
    assert of(load(folder.root)).waits == ()
    (shown,) = folder.headrace("cursors", "--json").json["cursors"]
    assert (shown["kept"], shown["erased"]) == (False, True)
    assert "(erased by `headrace erase`)" in folder.headrace("cursors", "orders").out
    refused = folder.headrace("rewind", "orders", "--to-version", "1")
    assert (refused.code, "`headrace erase` erased a part of it" in refused.err) == (2, True), refused

    told = "cursor `orders` is read as empty: a table of its version 1 was erased together with a person's data"
    planned = folder.headrace("plan", "orders")
    assert (planned.code, told in planned.err) == (0, True), planned
    done = folder.headrace("run", "orders")
    assert (done.code, told in done.err) == (0, True), done
    assert output(folder, "total") == f"{ROWS - 1} rows, {ROWS - 1} new"
    with closing(sqlite3.connect(folder.root / "w.db")) as db, db:
        db.execute("insert into t values (?, 'dora', ?)", (ROWS, ROWS))
    done = folder.headrace("run", "orders")
    assert (done.code, told in done.err) == (0, False), done
    assert output(folder, "total") == f"{ROWS} rows, 1 new"
    assert files_with(load(folder.root).home) == []


def test_a_cursor_whose_small_table_was_erased_has_no_value(folder: Folder) -> None:
    run(folder, "small")
    assert of(load(folder.root)).waits == ()
    (shown,) = folder.headrace("cursors", "--json").json["cursors"]
    assert (shown["kept"], shown["erased"]) == (False, True)
    run(folder, "small")
    assert output(folder, "last") == "from the beginning"
    run(folder, "small")
    assert output(folder, "last") == "from 7"


def test_a_plan_after_an_erasure_says_what_the_run_does_and_a_version_made_again_can_be_read(folder: Folder) -> None:
    run(folder, "files")
    assert of(load(folder.root)).waits == ()
    lost = folder.headrace("run", "found")
    assert lost.code == 1
    assert "dataset `rows:1` was erased on" in lost.out + lost.err, lost
    assert "register a new version" in lost.out + lost.err, lost
    planned = {each["name"]: each["decision"] for each in folder.headrace("plan", "files", "--json").json["tasks"]}
    did = run(folder, "files")
    assert planned["file"] == "run", planned
    assert did["file[path=in/one.csv]"] == ("succeeded", "there is no stored output to reuse")
    with read(load(folder.root)) as found:
        (version,) = found.versions("dataset", "rows")
    assert len(Codecs().load(version.out, reading_store(load(folder.root)))) == ROWS
    run(folder, "found")


def test_a_resumed_run_that_needs_an_erased_table_says_to_start_a_new_one(folder: Folder) -> None:
    assert folder.headrace("run", "use").code == 1
    assert of(load(folder.root)).waits == ()
    folder.write("ok", "")
    resumed = folder.headrace("resume", "latest")
    assert resumed.code == 1
    assert "the output of task `made` of run" in resumed.out + resumed.err, resumed
    assert "start a new run" in resumed.out + resumed.err, resumed
    run(folder, "use")


def test_a_version_of_a_model_with_an_erased_table_is_named_and_not_promoted(folder: Folder) -> None:
    folder.write("ok", "")
    run(folder, "use")
    project = load(folder.root)
    with views(project) as found:
        out = decode_ref(found.task("latest", "made").out or b"")
    with open_ledger(project) as ledger:
        register(ledger, Register(kind="model", name="rents", out=out), by="ann")
    assert of(project, dry_run=True, why="").models == ("rents:1",)
    assert of(project).models == ("rents:1",)
    with pytest.raises(RefusedError, match="`rents:1` can't answer requests: a table that it needs was erased"):
        promote(project, "rents")


def test_a_model_card_says_what_was_erased_since_and_counts_no_table_that_was_left_in_place_of_it(
    folder: Folder,
) -> None:
    run(folder, "learn")
    before = folder.headrace("card", "latest").out
    assert "| whole 1,000, rest 3 |" in before
    assert "erased" not in before
    erasure = of(load(folder.root)).erasure
    after = folder.headrace("card", "latest").out
    assert "| whole erased, rest 3 |" in after
    assert "together with a person's data: outputs of `made`, `halves`." in after
    assert f"`headrace erasures {erasure}` lists what was erased" in after
    made, halves = folder.headrace("card", "latest", "--json").json["data"]
    assert (made["rows"], made["erased"], made["erasures"]) == (None, [""], [erasure])
    assert (halves["tables"], halves["erased"]) == ({"whole": None, "rest": 3}, ["whole"])


def test_an_endpoint_does_not_go_back_to_a_version_whose_table_was_erased(folder: Folder) -> None:
    folder.write("ok", "")
    run(folder, "use")
    project = load(folder.root)
    with views(project) as found:
        outs = [decode_ref(found.task("latest", task).out or b"") for task in ("made", "used")]
    with open_ledger(project) as ledger:
        for number, out in enumerate(outs, 1):
            register(ledger, Register(kind="model", name="rents", out=out), by="ann")
            _send_all(ledger, number)
    assert of(project).waits == ()
    with pytest.raises(RefusedError, match="can't go back to version 1: a table that it needs was erased") as refused:
        rollback(project, "rents")
    assert refused.value.hint == "to choose another version, use `headrace promote rents:VERSION`"
    with pytest.raises(RefusedError, match="`rents` would go to version 1, and a table that it needs was erased"):
        point(project, "model:rents:1", "production")
    with read(project) as found:
        (endpoint,) = endpoints(found)
    assert main(endpoint) == 2


def _send_all(ledger: Ledger, version: int) -> None:
    reroute(ledger, "rents", lambda _: sole("rents", version), by="ann")
