"""`hr.cursor`, `hr.advance` and sources that change while they are read, on a real project."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from tests.cli.conftest import Beginnings, Shell
from tests.projects import PATIENCE_S

PIPELINES = """
import time
from datetime import date, timedelta
from pathlib import Path

import headrace as hr


def source() -> Path:
    folder = hr.attempt().project
    assert folder is not None
    return folder / "source.txt"


@hr.stage(cache=False)
def source_version() -> int:
    return int(source().read_text())


@hr.stage
def read(version: int) -> str:
    moves = source().with_name("moves")
    if moves.exists():
        moves.unlink()
        source().write_text(str(version + 1))
    now = int(source().read_text())
    hr.attempt().saw(version=now)
    return f"rows of {now}"


@hr.stage(cache=False)
def count(at: hr.Cursor, more: int = 0) -> list[int]:
    seen = [*(at.value or ()), at.version + more]
    hr.advance(at, seen)
    return seen


@hr.stage(cache=False)
def count_up(at: hr.Cursor) -> int:
    for number in range(3):
        hr.advance(at, [number])
    return at.version


@hr.stage
def judge(rows: list[int]) -> int:
    floor = int(source().with_name("floor.toml").read_text())
    assert len(rows) > floor, "too few"
    return len(rows)


@hr.stage
def measure(file: hr.File, rows: int) -> str:
    text = file.path.read_text()
    assert "good" in text, text
    return f"{text} {rows}"


@hr.pipeline
def judged() -> None:
    measure(hr.File("data.bin"), judge(count(hr.cursor("judged"))))


@hr.stage(cache=False)
def late(at: hr.Cursor) -> int:
    source().with_name("begun").touch()
    while not source().with_name("go").exists():
        time.sleep(0.02)
    hr.advance(at, [99])
    return at.version


@hr.stage
def kept(at: hr.Cursor) -> str:
    return f"{at.name} {at.version} {at.value}"


@hr.stage
def nested(cursors: list[hr.Cursor], value: object) -> str:
    return f"{[(each.name, each.version, each.value) for each in cursors]} {value}"


@hr.stage(cache=False)
def next_day(at: hr.Cursor) -> None:
    hr.advance(at, (at.value or date(2025, 1, 1)) + timedelta(days=1))


@hr.pipeline
def days() -> None:
    next_day(hr.cursor("day"))


@hr.pipeline
def counts() -> None:
    count(hr.cursor("orders"))


@hr.pipeline
def looks() -> None:
    kept(hr.cursor("orders"))


@hr.pipeline
def twice() -> None:
    at = hr.cursor("orders")
    first = count(at)
    count(at, 100, after=[first])


@hr.pipeline
def until_five() -> None:
    while len(count(hr.cursor("queue")).value()) < 5:
        pass


@hr.pipeline
def counts_up() -> None:
    count_up(hr.cursor("orders"))


@hr.pipeline
def overtaken() -> None:
    late(hr.cursor("orders"))


@hr.stage
def take(at: hr.Cursor) -> list[int]:
    hr.advance(at, [at.version])
    return [at.version]


@hr.stage(cache=False)
def hold(is_held: bool) -> None:
    if is_held:
        source().with_name("begun").touch()
        while not source().with_name("go").exists():
            time.sleep(0.02)


@hr.pipeline
def overlaps(is_held: bool = False) -> None:
    at = hr.cursor("orders")
    held = hold(is_held)
    take(at, after=[held])
    kept(at, after=[held])


@hr.pipeline
def inside() -> None:
    at = hr.cursor("orders")
    nested([at], at.value)


@hr.pipeline
def reads() -> None:
    read(source_version())


@hr.pipeline
def ours() -> None:
    hr.cursor("headrace.notes")


@hr.stage
def mistaken(version: int) -> None:
    hr.attempt().saw(versoin=1)


@hr.stage
def asks() -> int:
    return hr.cursor("orders").version


@hr.pipeline
def inner() -> None:
    asks()


@hr.pipeline
def wrong() -> None:
    mistaken(1)
"""


TABLES = """
import pyarrow as pa

import headrace as hr
from headrace.codec.joined import Joined


@hr.stage(cache=False)
def grow(at: hr.Cursor) -> int:
    rows = pa.table({"n": list(range(at.version * 20_000, (at.version + 1) * 20_000))})
    before = [] if at.value is None else [at.value]
    hr.advance(at, Joined([*before, rows]))
    return sum(int(table["n"].to_numpy().sum()) for table in before)


@hr.stage(cache=False)
def other_rows(at: hr.Cursor) -> int:
    number = 0 if at.value is None else at.value["n"][0].as_py() + 1
    hr.advance(at, pa.table({"n": [number] * 1000}))
    return number


@hr.pipeline
def rows() -> None:
    other_rows(hr.cursor("rows"))


@hr.pipeline
def grows() -> None:
    grow(hr.cursor("table"))
"""
"""Apart, since a run of these alone has to import Arrow."""


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    empty.write("source.txt", "1")
    return empty


@pytest.fixture
def tables(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", TABLES)
    return empty


def value(shell: Shell, task: str) -> str:
    [name] = shell("get", "latest", task).out.split()
    path = shell.folder / name
    text = path.read_text()
    path.unlink()
    return text


def test_each_run_goes_on_from_where_the_one_before_has_come_to(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run counts", "run counts")
    done = shell("run", "counts")
    assert done.code == 0, done.err
    assert json.loads(value(shell, "count")) == [0, 1, 2]


def test_a_cursor_that_a_body_asks_for_again_is_told_as_it_is_by_then(shell: Shell) -> None:
    ran = json.loads(shell("run", "until_five", "--json").out)
    found = [json.loads(value(shell, task["name"])) for task in ran["tasks"]]
    assert found == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_a_cursor_is_part_of_the_key(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run counts")
    assert shell("run", "looks").code == 0
    assert value(shell, "kept") == "orders 1 [0]"
    assert "1 reused" in shell("run", "looks").out
    shell("run", "counts")
    assert "1 reused" not in shell("run", "looks").out


def test_a_cursor_that_another_task_has_advanced_is_left_as_it_is(shell: Shell) -> None:
    done = shell("run", "twice")
    assert done.code == 0, done.err
    assert done.err.count("cursor `orders` was moved on from version 0 by another task of this run meanwhile") == 1
    shell("run", "counts")
    assert json.loads(value(shell, "count")) == [0, 1]


def test_of_several_advances_in_one_attempt_the_last_counts(shell: Shell) -> None:
    done = shell("run", "counts_up")
    assert done.code == 0, done.err
    assert "dropped" not in done.err
    shell("run", "looks")
    assert value(shell, "kept") == "orders 1 [2]"


def test_a_run_that_was_overtaken_more_than_once_says_that_its_advance_was_dropped(shell: Shell) -> None:
    with shell.start("run", "overtaken", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not (shell.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        for _ in range(2):
            assert shell("run", "counts").code == 0
        shell.write("go", "")
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert b"cursor `orders` was moved on from version 0 by another run or a person meanwhile" in said
    shell("run", "counts")
    assert json.loads(value(shell, "count")) == [0, 1, 2]


def test_a_run_that_a_hand_was_quicker_than_says_that_its_advance_was_dropped(shell: Shell) -> None:
    with shell.start("run", "overtaken", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not (shell.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        shell("run", "counts")
        assert shell("rewind", "orders").code == 0
        shell.write("go", "")
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert b"cursor `orders` was moved on from version 0 by another run or a person meanwhile" in said
    quicker, late = [each["run"] for each in shell("runs", "--json").json["runs"]]
    dropped = "its new value for cursor `orders` was dropped"
    assert (
        f"`late` warns: {dropped}: run `{quicker}` had moved the cursor on from version 0 meanwhile"
        in shell("show", late).out
    )
    assert dropped not in shell("show", quicker).out
    assert [(each["task"], dropped in each["text"]) for each in shell("show", late, "--json").json["warnings"]] == [
        ("late", True)
    ]
    shell("run", "looks")
    assert value(shell, "kept") == "orders 2 None"


def test_an_advance_that_came_too_late_was_dropped_also_where_its_value_is_that_of_the_other(shell: Shell) -> None:
    runs = []
    for _ in range(2):
        runs.append(shell.start("run", "overtaken", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        patience = time.monotonic() + PATIENCE_S
        while not (shell.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        (shell.folder / "begun").unlink()
    shell.write("go", "")
    said = b"".join(run.communicate(timeout=PATIENCE_S)[1] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert said.count(b"so the value that `late` asked for was dropped") == 1
    assert len(shell("cursors", "orders").out.splitlines()) == 2
    shown = [shell("show", each["run"], "--tasks").out for each in shell("runs", "--json").json["runs"]]
    assert sum("its new value for cursor `orders` was dropped" in each for each in shown) == 1


def test_a_run_that_passes_on_the_output_of_a_run_that_overlaps_with_it_says_so(shell: Shell) -> None:
    with shell.start("run", "overlaps", "--is-held", "true", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        patience = time.monotonic() + PATIENCE_S
        while not (shell.folder / "begun").exists():
            assert time.monotonic() < patience
            time.sleep(0.02)
        assert "warning" not in shell("run", "overlaps").err
        shell.write("go", "")
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    quicker, late = [each["run"] for each in shell("runs", "--json").json["runs"]]
    told = (
        f"its output was reused from run `{quicker}`, and cursor `orders` was moved on from version 0 meanwhile:"
        " both runs pass this output on"
    )
    assert f"warning: `take`: {told}" in said.decode()
    assert f"`take` warns: {told}" in shell("show", late).out
    assert shell("show", late, "--json").json["warnings"] == [{"task": "take", "text": told}]
    assert shell("show", quicker, "--json").json["warnings"] == []
    after = shell("run", "overlaps", "--json").json
    assert (after["warnings"], json.loads(value(shell, "take"))) == ([], [1])


def test_a_cursor_is_set_back_to_a_version_a_value_or_nothing_and_each_is_listed(
    shell: Shell, begun: Beginnings
) -> None:
    begun(shell.folder, "run counts", "run counts")
    made = shell("runs", "--json").json["runs"][0]["run"]
    [now] = shell("cursors", "--json").json["cursors"]
    assert (now["name"], now["version"], now["value"]) == ("orders", 2, [0, 1])
    assert (now["run"], now["task"], now["by"]) == (made, "count", None)
    tried = shell("rewind", "orders", "--to-version", "1", "--dry-run")
    assert (tried.out, tried.code) == ("orders would be: [0] (version 3); it is: [0,1] (version 2)\n", 0)
    back = shell("rewind", "orders", "--to-version", "1", "--json").json
    assert (back["before"]["version"], back["after"]["version"], back["after"]["value"]) == (2, 3, [0])
    shell("run", "counts")
    assert json.loads(value(shell, "count")) == [0, 3]
    assert shell("rewind", "orders").out == "orders: no value (version 5); it was: [0,3] (version 4)\n"
    shell("run", "counts_up")
    shell("run", "looks")
    assert value(shell, "kept") == "orders 6 [2]"
    found = shell("cursors", "orders", "--json").json["cursors"]
    assert [each["value"] for each in found] == [[2], None, [0, 3], [0], [0, 1], [0]]
    assert [each["by"] is None for each in found] == [True, False, True, False, True, True]
    assert len(shell("cursors", "orders").out.splitlines()) == 7


def test_a_value_that_is_told_is_of_the_class_that_the_cursors_values_have(shell: Shell) -> None:
    shell("run", "days")
    assert shell("rewind", "day", "--to", "2025-12-31").out.startswith("day: 2025-12-31 (version 2)")
    shell("run", "days")
    [now] = shell("cursors", "--json").json["cursors"]
    assert (now["value"], now["type"]) == ("2026-01-01", "datetime.date")


def test_wrong_words_about_cursors_are_one_error(shell: Shell) -> None:
    assert "there is no cursor yet" in shell("cursors").err
    shell("run", "counts")
    shell("run", "days")
    for words, message in [
        (("cursors", "ordres"), "there is no cursor `ordres`"),
        (("rewind", "ordres"), "there is no cursor `ordres`"),
        (("rewind", "orders", "--to", "3"), "of class `list`, which can't be written after `--to`"),
        (("rewind", "orders", "--to", "3", "--to-version", "0"), "both given"),
        (("rewind", "orders", "--to-version", "7"), "has no version 7"),
        (("rewind", "day", "--to", "soon"), "`soon` is not a value for cursor `day`, whose values are of class `date`"),
        (("rewind", "day", "--to", "2026-02-30"), "hint: give a day, as `2026-11-26`"),
        (("rewind", "day", "--to", "1" * 5000), "longer than 4096 bytes"),
    ]:
        done = shell(*words)
        assert (done.code, message in done.err, "hint: " in done.err) == (2, True, True), done.err


def test_a_cursor_goes_inside_of_a_list_and_its_value_is_there_for_the_body(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run counts")
    done = shell("run", "inside")
    assert done.code == 0, done.err
    assert value(shell, "nested") == "[('orders', 1, [0])] [0]"


def test_what_a_cursors_value_needs_of_earlier_runs_outlives_the_collector(tables: Shell) -> None:
    for number in range(4):
        done = tables("run", "grows")
        assert done.code == 0, done.err
        rows = 20_000 * number
        assert json.loads(value(tables, "grow")) == rows * (rows - 1) // 2
        assert tables("gc", "--keep-runs", "1").code == 0
    assert tables("fsck", "--deep").code == 0
    blobs = [path for path in (tables.folder / ".headrace").rglob("*") if path.stat().st_size > 100_000]
    assert len([path for path in blobs if path.suffix != ".db" and path.is_file()]) <= 5


READING = """
import sqlite3

import headrace as hr
from headrace.stages import ingest


@hr.pipeline
def reading() -> None:
    ingest.sql("sqlite:///shop.db", "select * from orders", mode="increment", watermark="changed", cursor="orders")
    ingest.sql("sqlite:///shop.db", "select * from orders", mode="snapshot", key="changed", cursor="all")
    ingest.files("in/*.csv", new_only=True)
    ingest.files("in/*.csv", vanished="keep")
    ingest.logs("in/*.csv", cursor="logs")
"""


def test_the_cursors_of_ready_made_stages_say_how_far_they_have_read(empty: Shell) -> None:
    with closing(sqlite3.connect(empty.folder / "shop.db")) as db, db:
        db.execute("create table orders (changed text)")
        db.execute("insert into orders values ('2026-11-24'), ('2026-11-25')")
    (empty.folder / "in").mkdir()
    for name in ("a", "b"):
        empty.write(f"in/{name}.csv", "n\n1\n")
    empty.write("one.py", READING)
    done = empty("run", "one.py:reading")
    assert done.code == 0, done.err
    found = {each["name"]: each for each in empty("cursors", "--json").json["cursors"]}
    told = [found["all"], *(each for name, each in found.items() if name.startswith("files/"))]
    assert [each["reached"] for each in told] == ["a snapshot", "2 files", "2 files"]
    assert (found["logs"]["reached"], found["orders"]["reached"]) == ("2 logs", "changed <= 2026-11-25")
    assert "changed <= 2026-11-25" in empty("cursors").out
    for day in ("2026-11-26", "2026-11-27"):
        with closing(sqlite3.connect(empty.folder / "shop.db")) as db, db:
            db.execute("insert into orders values (?)", (day,))
        assert empty("run", "one.py:reading").code == 0
    moved = empty("explain", "latest", "sql").out
    digest = r"\([0-9a-f]{12}\)"
    assert re.search(f"input cursor: changed <= 2026-11-25 {digest} -> changed <= 2026-11-26 {digest}", moved), moved


FAILING = """
import pyarrow as pa

import headrace as hr
from headrace.stages import ingest

INCREMENT = {"mode": "increment", "watermark": "changed"}


@hr.stage
def fails(logs: pa.Table, new_logs: pa.Table, files: pa.Table, kept: pa.Table, rows: pa.Table, new: pa.Table) -> None:
    raise ValueError


@hr.pipeline
def failing() -> None:
    kept = ingest.files("in/*.csv", vanished="keep", cursor="kept")
    ingest.check(kept, ingest.Contract(columns={"n": ingest.Column(type="int64")}), history=hr.cursor("counts"))
    fails(
        ingest.logs("in/*.csv", cursor="logs").rows,
        ingest.logs("in/*.csv", cursor="only-logs", new_only=True).rows,
        ingest.files("in/*.csv", cursor="only-files", new_only=True),
        kept,
        ingest.sql("sqlite:///shop.db", "select changed from orders", cursor="rows", **INCREMENT).table,
        ingest.sql("sqlite:///shop.db", "select changed from orders", cursor="only-rows", **INCREMENT).new,
    )
"""


def test_a_failed_run_names_only_the_cursors_whose_rows_a_new_run_does_not_get(empty: Shell) -> None:
    with closing(sqlite3.connect(empty.folder / "shop.db")) as db, db:
        db.execute("create table orders (changed text)")
        db.execute("insert into orders values ('2026-11-24'), ('2026-11-25')")
    (empty.folder / "in").mkdir()
    empty.write("in/a.csv", "n\n1\n")
    empty.write("one.py", FAILING)
    failed = empty("run", "one.py:failing")
    assert failed.code == 1, failed.err
    assert len(empty("cursors", "--json").json["cursors"]) == 7
    hint = failed.err.splitlines()[-1]
    left_out, _, as_read = hint.partition("A new run doesn't get the rows that this one")[2].partition(
        "A new run keeps "
    )
    names = ("only-files", "only-logs", "only-rows")
    commands = [f"headrace rewind {name} --to-version 0" for name in names]
    assert sorted(re.findall("`([^`]+)`", left_out)) == sorted((*names, *commands)), hint
    assert re.findall("`([^`]+)`", as_read) == ["rows", "headrace rewind rows --to-version 0"], hint


HELD_BACK = """
import pyarrow as pa

import headrace as hr
from headrace.stages import ingest


@hr.stage
def count(new: pa.Table) -> int:
    return len(new)


@hr.pipeline
def watch() -> None:
    orders = ingest.sql(
        "sqlite:///shop.db", "select * from orders", mode="increment", watermark="changed", key="id", cursor="orders"
    )
    count(orders.new)
    low = ingest.Column(type="int64", max=9, otherwise="stop")
    ingest.check(orders.table, ingest.Contract(columns={"n": low}, extra="allow"))
"""


def test_rows_corrected_at_the_source_come_after_the_rewinding_that_the_failed_contract_names(empty: Shell) -> None:
    def write(statement: str) -> None:
        with closing(sqlite3.connect(empty.folder / "shop.db")) as db, db:
            db.execute(statement)

    write("create table orders (id integer, changed integer, n integer)")
    write("insert into orders values (1, 1, 1)")
    empty.write("one.py", HELD_BACK)
    assert empty("run", "one.py:watch").code == 0
    write("insert into orders values (2, 2, 100), (3, 3, 3)")
    failed = empty("run", "one.py:watch")
    assert failed.code == 1
    assert "rows that a cursor has passed are read again after `headrace rewind`" in failed.err + failed.out
    hint = failed.err.splitlines()[-1]
    assert "doesn't get" not in hint, "the task that needs the new rows has succeeded"
    write("update orders set n = 2 where id = 2")
    assert empty("run", "one.py:watch").code == 1
    command = re.search("first set it back: `headrace (.*)`", hint)
    assert command is not None, hint
    assert empty(*command[1].split()).code == 0
    assert empty("run", "one.py:watch").code == 0


def test_a_value_that_the_collector_has_given_up_is_marked_and_no_dry_run_says_yes_to_it(
    tables: Shell, begun: Beginnings
) -> None:
    begun(tables.folder, "run rows", "run rows")
    tables("run", "rows")
    tables("gc", "--keep-runs", "1")
    assert [each["kept"] for each in tables("cursors", "rows", "--json").json["cursors"]] == [True, True, False]
    assert tables("cursors", "rows").out.count("(deleted by `headrace gc`)") == 1
    for words in ((), ("--dry-run",)):
        done = tables("rewind", "rows", "--to-version", "1", *words)
        assert (done.code, "is no longer kept: `headrace gc` deleted it" in done.err) == (2, True)
    assert len(tables("cursors", "rows", "--json").json["cursors"]) == 3


def test_what_was_kept_of_a_project_comes_back_into_it_after_equal_values_of_a_cursor_were_made_one(
    tables: Shell,
    begun: Beginnings,
) -> None:
    begun(tables.folder, "run rows", "run rows")
    tables("rewind", "rows", "--to-version", "1")
    tables("run", "rows")
    assert tables("backup", "kept").code == 0
    assert tables("ledger", "export", "kept.ledger").code == 0
    assert "equal to another, which stays" in tables("gc").out
    for words in (("restore", "kept", "--merge"), ("ledger", "import", "kept.ledger")):
        done = tables(*words)
        assert (done.code, "3 runs were there already" in done.out) == (0, True), done.err
    assert tables("fsck", "--deep").code == 0


def test_a_plan_knows_the_cursor(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run counts")
    shell("run", "looks")
    done = shell("plan", "looks", "--json")
    assert [task["decision"] for task in done.json["tasks"]] == ["reuse"]


def test_a_cursor_of_our_own_is_refused(shell: Shell) -> None:
    done = shell("run", "ours")
    assert done.code == 2
    assert "a cursor can't be called `headrace.notes`" in done.err


def test_what_was_read_is_stored_under_the_version_that_the_read_saw(shell: Shell) -> None:
    shell.write("moves", "")
    done = shell("run", "reads", "--json")
    [read] = [task for task in done.json["tasks"] if task["name"] == "read"]
    assert read["reason"].endswith(
        "`version` had changed before the attempt read it, so the output's key has the value that was read"
    )
    done = shell("run", "reads", "--json")  # the version is 2 now, and its rows are there
    assert {task["name"]: task["state"] for task in done.json["tasks"]} == {
        "source_version": "succeeded",
        "read": "reused",
    }
    assert value(shell, "read") == "rows of 2"
    shell.write("source.txt", "1")  # and under 1 there is nothing
    done = shell("run", "reads", "--json")
    assert value(shell, "read") == "rows of 1"
    assert "no differences" in shell("replay", "latest").out
    assert shell("fsck").code == 0


def test_a_stage_that_asks_for_a_cursor_is_told_where_to_ask(shell: Shell) -> None:
    done = shell("run", "inner")
    assert done.code == 1
    assert "`hr.cursor('orders')` was called in a stage" in done.err + done.out


def test_to_have_seen_what_was_never_given_is_an_error(shell: Shell) -> None:
    done = shell("run", "wrong")
    assert done.code == 1
    assert "the stage of `mistaken` was given no argument `versoin`" in done.err + done.out


def test_new_code_takes_files_as_they_are_and_goes_on_with_the_rows_that_the_run_has_read(shell: Shell) -> None:
    shell.write("floor.toml", "1")
    shell.write("data.bin", "bad")
    failed = shell("run", "judged")
    assert failed.code == 1
    assert "add `--new-code` if you have fixed code or a file. A new run doesn't get" in failed.err.splitlines()[-1]
    assert "cursor `judged`" in failed.err.splitlines()[-1]
    shell.write("floor.toml", "0")
    (shell.folder / "loop.py").symlink_to("loop.py")  # nobody can read it, and nobody has to
    (shell.folder / ".gitignore").write_bytes(b"/\xe9t\xe9.py\n")
    again = shell("resume", "latest")
    (shell.folder / "loop.py").unlink()
    assert again.code == 1
    assert (
        "`floor.toml` has changed since the run began, and the run goes on with the old content: `--new-code` takes"
        in again.err
    )
    again = shell("resume", "latest", "--new-code")
    assert (again.code, "has changed" in again.err) == (1, False)
    shell.write("data.bin", "good")
    done = shell("resume", "latest", "--new-code")
    assert done.code == 0, done.err
    assert value(shell, "measure") == "good 1"
    assert json.loads(value(shell, "count")) == [0]  # the rows of the first read, which was not done again
    shell("run", "judged")
    assert json.loads(value(shell, "count")) == [0, 1]


def test_new_code_that_reads_otherwise_reads_again_what_this_run_has_read_and_the_cursor_stands_behind_it(
    shell: Shell,
) -> None:
    shell.write("floor.toml", "1")
    shell.write("data.bin", "good")
    assert shell("run", "judged").code == 1
    shell.write("floor.toml", "0")
    shell.write("pipelines.py", PIPELINES.replace("at.version + more]", "at.version + more + 10]"))
    done = shell("resume", "latest", "--new-code")
    assert done.code == 0, done.err
    assert "meanwhile" not in done.err
    assert json.loads(value(shell, "count")) == [10]  # from where the run had begun
    shell("run", "judged")
    assert json.loads(value(shell, "count")) == [10, 12]  # and not [0, 11]
