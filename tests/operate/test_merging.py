"""Parts of a day get one table, and nothing that anybody reads or erases is any different."""

from __future__ import annotations

import gc
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import NotFoundError
from headrace.inspect.endpoints.predictions import prediction_log, predictions
from headrace.inspect.views import read
from headrace.ledger.exclusive import alone
from headrace.ledger.records import PredictionPartRecord
from headrace.ledger.standing.tables import BY_TABLE
from headrace.ledger.upkeep import daily_parts, old_parts
from headrace.ledger.upkeep.gc import Collector
from headrace.models.predicted import none
from headrace.operate.endpoints.merging import merge_parts
from headrace.operate.endpoints.sealing import seal_apart, seal_predictions
from headrace.operate.erasure.erase import resume
from headrace.operate.upkeep.backup import back_up, restore
from headrace.operate.upkeep.transfer import export_ledger, import_ledger
from headrace.operate.upkeep.upkeep import check
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, stores
from headrace.spec.artifact import Ref, decode_ref, within
from tests.operate.test_erase import ANNA, NO_PROGRESS, PATIENCE_S, Killed, customers, files_with, load, log, of
from tests.projects import lent
from tests.serve.predictions.samples import answered
from tests.servers.postgres import Postgres

PIPELINES = """
import pyarrow as pa
import pyarrow.compute as pc

import headrace as hr
from headrace.stages import ingest


@hr.stage
def numbers(log: pa.Table) -> list[int]:
    return [each["predicted"] for each in log.column("output").to_pylist()]


@hr.pipeline
def watch() -> None:
    numbers(ingest.predictions("rents"))
"""
PEOPLE = ["bob", "carol", "dora"] * 20
EARLY, LATE = 1_000.0, 1_000.0 + daily_parts.DAY_S
"""Times of two days that have ended long ago."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headrace.toml").write_text("")
    return load(folder)


def seal(project: Project, *segments: list[str], at: float = EARLY, **fields: Any) -> None:
    """Log a request of each customer, and seal each list of customers as a part."""
    for people in segments:
        found = prediction_log(project)
        writer = found.writer(lambda _: None)
        for number, customer in enumerate(people):
            given = b'[{"customer": "%s", "x": %d}]' % (customer.encode(), number)
            made = replace(answered(number, given=given), endpoint="rents", version="rents:1", at=at + number)
            writer.log(replace(made, **fields), None)
        assert writer.close(PATIENCE_S)
        found.close()
        assert seal_predictions(project) == len(people)


def merge(project: Project) -> int:
    """Merge parts, as if the last look were long ago."""
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        daily_parts.looked(db, 0.0)
    return merge_parts(project)


def sweep(project: Project) -> None:
    """Collect garbage, also what is young."""
    with open_ledger(project) as ledger, Collector(ledger, stores(project)) as collector:
        collector.collect(grace_s=0.0, now=ledger.now())


def rows_of(project: Project) -> list[PredictionPartRecord]:
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        return list(BY_TABLE["prediction_parts"].rows(db))


def tables_of(project: Project) -> set[str]:
    return {each.nonce for row in rows_of(project) for each in within(decode_ref(row.out)) if each.nonce}


def all_of(project: Project, endpoint: str = "rents") -> list[dict[str, Any]]:
    with read(project) as views:
        table = predictions(project, views, endpoint)
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


def by_part(project: Project) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the predictions of each part, by the files that the ledger names and by nothing of Headrace but names."""
    found, store = {}, open_store(project)
    for row in (each for each in rows_of(project) if each.count):
        (ref,) = [each for each in within(decode_ref(row.out)) if each.nonce]
        with pa.memory_map(str(store.path(ref.digest, ref.nonce or ""))) as file:
            every = pa.ipc.open_file(file).read_all().to_pylist()
        own = [each for each in every if re.fullmatch(rf"{row.writer}-{row.segment}-\d+-[0-9a-f]+", each["id"])]
        assert len(own) == row.count
        found[row.endpoint, row.number] = own
    return found


def facts(rows: list[PredictionPartRecord]) -> list[tuple[Any, ...]]:
    return [(row.endpoint, row.number, row.writer, row.segment, row.count, row.first, row.last, row.at) for row in rows]


def test_the_same_predictions_are_read_before_and_after_of_all_parts_and_of_each(project: Project) -> None:
    seal(project, PEOPLE, PEOPLE[:40], PEOPLE)
    seal(project, PEOPLE, PEOPLE, given=b'[{"customer": "emil", "more": "text"}]')  # of other columns
    seal(project, PEOPLE, PEOPLE, endpoint="other")
    seal(project, PEOPLE, PEOPLE, at=LATE)
    before, parts, rows = all_of(project), by_part(project), rows_of(project)
    others = all_of(project, "other")
    assert len(tables_of(project)) == 9
    assert merge(project) == 9
    assert len(tables_of(project)) == 4, "one of each endpoint, day and set of columns"
    assert (all_of(project), all_of(project, "other")) == (before, others)
    assert by_part(project) == parts
    assert facts(rows_of(project)) == facts(rows)
    assert check(project, deep=True, repair=False).problems == ()
    sweep(project)
    assert (all_of(project), by_part(project)) == (before, parts)
    assert check(project, deep=True, repair=False).problems == ()
    assert merge(project) == 0, "what is merged stays as it is"
    assert tables_of(project) == {each.partition(".")[2] for each in stored(project)}, "the small tables are gone"


def stored(project: Project) -> list[str]:
    """Return the blobs with tables of a log that the store has."""
    store = open_store(project)
    every = [(each.digest, each.nonce) for each in store.blobs()]
    return [f"{digest}.{nonce}" for digest, nonce in every if b"latency_s" in store.path(digest, nonce).read_bytes()]


def test_a_day_is_merged_once_it_has_been_over_for_an_hour_and_a_part_that_comes_later_waits_for_another(
    project: Project,
) -> None:
    seal(project, PEOPLE, PEOPLE)
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        assert list(daily_parts.days(db, daily_parts.DAY_S + 3_599.0)) == []
        assert [len(rows) for rows in daily_parts.days(db, daily_parts.DAY_S + 3_601.0)] == [2]
    assert merge_parts(project) == 2
    seal(project, PEOPLE)
    assert merge_parts(project) == 0, "it looked a moment ago"
    assert merge(project) == 0
    seal(project, PEOPLE)
    before = all_of(project)
    assert merge(project) == 2
    assert (len(tables_of(project)), len(rows_of(project))) == (2, 4)
    assert all_of(project) == before


def test_the_process_that_seals_merges_too(project: Project) -> None:
    seal(project, PEOPLE, PEOPLE)
    before = all_of(project)
    log(project, PEOPLE)
    assert seal_apart(project) == ""
    assert (len(tables_of(project)), len(rows_of(project)), len(all_of(project))) == (1, 3, len(before) + len(PEOPLE))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with four parts, which a run has read."""
    folder = tmp_path_factory.mktemp("watched") / "project"
    with lent(folder, '[project]\npipelines = ["pipelines.py"]\n') as lended:
        lended.write("pipelines.py", PIPELINES)
        seal(load(folder), PEOPLE, [*PEOPLE, ANNA], PEOPLE[:30])
        assert lended.headrace("run", "watch").code == 0
        yield folder


def test_a_run_that_begins_within_a_merged_day_reads_the_parts_after_its_cursor_and_no_other(
    watched: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(watched, folder, symlinks=True)
    with lent(folder) as lended:
        project = load(folder)
        seal(project, PEOPLE[:45])
        assert merge(project) == 4
        for to in (None, "1", "2", "0"):
            if to is not None:
                words = ["--to", to] if to != "0" else []
                assert lended.headrace("rewind", "predictions/rents", *words).code == 0
            done = lended.headrace("run", "watch", "--json")
            assert done.code == 0, done
            name = f"found-{to}.json"
            assert lended.headrace("get", done.json["run"], "numbers", "--to", name).code == 0
            found = [int(each) for each in re.findall(r"\d+", (folder / name).read_text())]
            expected = [[*range(60)], [*range(61)], [*range(30)], [*range(45)]][{None: 3, "1": 1, "2": 2, "0": 0}[to] :]
            assert found == [each for part in expected for each in part], to
        assert lended.headrace("fsck", "--deep").code == 0


@pytest.mark.parametrize("collects", [False, True])
@pytest.mark.parametrize("merges", ["before", "after", "both"])
def test_a_person_is_in_no_file_whether_the_parts_are_merged_before_the_erasure_or_after(
    watched: Path, tmp_path: Path, merges: str, collects: bool
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(watched, folder, symlinks=True)
    project = load(folder)
    seal(project, [ANNA, *PEOPLE], PEOPLE)
    everybody, parts = customers(project), by_part(project)
    if merges != "after":
        assert merge(project) == 5
        seal(project, [*PEOPLE, ANNA], PEOPLE)
        everybody, parts = customers(project), by_part(project)
    if collects:
        sweep(project)
    told = of(project, dry_run=True, why="")
    done = of(project)
    expected = everybody.count(ANNA)
    assert (done.predictions, done.parts, done.waits) == (expected, expected, ())
    assert (told.predictions, told.parts, set(told.tables)) == (done.predictions, done.parts, set(done.tables))
    assert files_with(project.root) == []
    left = [each for each in everybody if each != ANNA]
    assert customers(project) == left
    if merges != "before":
        assert merge(project) == (5 if merges == "after" else 2)
    assert customers(project) == left
    assert by_part(project) == {
        name: [row for row in rows if row["input"]["customer"] != ANNA] for name, rows in parts.items()
    }
    assert [each.waits for each in resume(project, waits=False, say=lambda _: None)] == [()]
    assert files_with(project.root) == []
    assert customers(project) == left
    assert check(project, deep=True, repair=False).problems == ()


def test_one_person_after_the_other_is_erased_from_a_merged_table_also_if_a_part_is_empty_by_then(
    project: Project, tmp_path: Path
) -> None:
    seal(project, ["bob"] * 60, PEOPLE, [ANNA] * 60, ["dora"] * 60)
    assert merge(project) == 4
    for customer in ("bob", ANNA, "carol"):
        assert of(project, customer).waits == ()
        assert files_with(project.root, customer) == []
        assert check(project, deep=True, repair=False).problems == ()
    assert [row.count for row in rows_of(project)] == [0, 20, 0, 60]
    assert customers(project) == ["dora"] * 80
    export_ledger(project, tmp_path / "all.headrace", blobs=True, **NO_PROGRESS)
    sweep(project)
    assert customers(project) == ["dora"] * 80
    assert merge(project) == 0


def test_a_request_that_nobody_can_read_is_erased_from_a_merged_part_and_from_what_it_was_made_of(
    project: Project,
) -> None:
    seal(project, PEOPLE, given=b'[{"customer": "%s", "x": ' % ANNA.encode())
    seal(project, PEOPLE, given=b"[{")
    assert merge(project) == 2
    assert len(files_with(project.root)) == 2, "the old table, and the new one"
    done = of(project)
    assert (done.predictions, done.unreadable, done.waits) == (120, 120, ())
    assert files_with(project.root) == []
    assert all_of(project) == []
    assert [row.count for row in rows_of(project)] == [0, 0]


def test_nothing_is_merged_while_a_person_is_erased_and_an_erasure_waits_for_a_merger(project: Project) -> None:
    seal(project, PEOPLE, [*PEOPLE, ANNA])
    with open_ledger(project) as ledger, ThreadPoolExecutor(1) as pool:
        with alone(ledger, "headrace erase"):
            assert merge(project) == 0
        with closing(ledger.connect()) as db:
            with daily_parts.only_one(db) as lease:
                assert lease is not None
                erasing = pool.submit(of, project)
                with pytest.raises(TimeoutError):
                    erasing.result(0.5)
            assert erasing.result(PATIENCE_S).predictions == 1
    assert merge(project) == 2
    assert files_with(project.root) == []


def test_a_merger_that_was_stopped_while_a_person_was_erased_leaves_nothing_of_the_person(project: Project) -> None:
    seal(project, PEOPLE, [*PEOPLE, ANNA])

    def erase_meanwhile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "share" and code.co_filename.endswith("daily_parts.py"):
            sys.setprofile(None)
            frame.f_locals["lease"].release()  # as if it had been stopped for long, and another one had taken it
            assert of(project).predictions == 1

    sys.setprofile(erase_meanwhile)
    try:
        assert merge(project) == 0
    finally:
        sys.setprofile(None)
    assert files_with(project.root) == []
    assert ANNA not in customers(project)
    assert merge(project) == 2
    assert files_with(project.root) == []


STEPS = ("daily_parts.py", "merging.py", "sqlite.py", "folder.py", "write_batch.py")


class Killer:
    """Ends this thread's work at the Nth call of a function that stores a table or changes the ledger."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith(STEPS) and frame.f_code.co_name != "<genexpr>":
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                raise Killed


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # what is killed closes nothing
def test_a_merger_that_is_killed_anywhere_loses_nothing_and_leaves_nothing_that_an_erasure_misses(
    project: Project, tmp_path: Path
) -> None:
    seal(project, PEOPLE, [*PEOPLE, ANNA])
    before, parts = all_of(project), by_part(project)
    at, is_killed, merged = 1, True, 0
    while is_killed:
        folder = tmp_path / str(at)
        shutil.copytree(project.root, folder, symlinks=True)
        own = load(folder)
        sys.setprofile(Killer(at))
        try:
            merge_parts(own)
            is_killed = False
        except Killed:
            pass
        finally:
            sys.setprofile(None)
        gc.collect()
        assert (all_of(own), by_part(own)) == (before, parts), at
        assert check(own, deep=True, repair=False).problems == (), at
        merged += len(tables_of(own)) == 1
        if at % 3 == 0:
            assert of(own).waits == (), at
            assert files_with(own.root) == [], at
        else:
            assert len(tables_of(own)) == 1 or merge(own) == 2, at
            assert (all_of(own), by_part(own)) == (before, parts), at
        shutil.rmtree(folder)
        at += 5
    assert at > 40, "it was killed at many places"
    assert merged, "once it was done"


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"])
def test_two_that_merge_at_once_merge_each_part_once(
    project: Project, ledger: str, request: pytest.FixtureRequest
) -> None:
    if ledger == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        (project.root / "headrace.toml").write_text(f'[ledger]\nurl = "{server.database()}"\n')
        project = load(project.root)
    seal(project, *[PEOPLE] * 5, [*PEOPLE, ANNA])
    before = all_of(project)
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(merge_parts, [project, project])) == 6
    assert len(tables_of(project)) == 1
    assert all_of(project) == before
    assert of(project).waits == ()
    assert files_with(project.root) == []
    assert all_of(project) == [row for row in before if row["input"]["customer"] != ANNA]


def test_a_reader_that_has_read_the_rows_before_a_merge_and_a_collection_reads_the_predictions(
    project: Project,
) -> None:
    seal(project, PEOPLE, PEOPLE)
    before = all_of(project)

    def merge_meanwhile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if (
            event == "call"
            and code.co_name == "_table"
            and code.co_filename.endswith("inspect/endpoints/predictions.py")
        ):
            sys.setprofile(None)
            assert merge(project) == 2
            sweep(project)

    sys.setprofile(merge_meanwhile)
    try:
        assert all_of(project) == before
    finally:
        sys.setprofile(None)


def test_predictions_that_are_too_old_are_forgotten_by_part_although_their_table_has_newer_ones(
    project: Project,
) -> None:
    seal(project, PEOPLE)
    seal(project, PEOPLE, at=EARLY + 40_000.0)
    parts = by_part(project)
    assert merge(project) == 2

    class Rules:
        def seconds(self, _endpoint: str) -> float:
            return 1_000.0

        def empty(self, *, is_labels: bool) -> Ref:
            assert not is_labels
            return Codecs().save(none(), open_store(project))

    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        told = old_parts.forget(db, Rules(), EARLY + 40_000.0, dry_run=True)
        assert told.outs == frozenset(), "the table stays"
        assert old_parts.forget(db, Rules(), EARLY + 40_000.0, dry_run=False) == told
        assert told.logs[0].predictions == len(PEOPLE)
    (kept,) = by_part(project)
    assert all_of(project) == sorted(parts[kept], key=lambda row: str(row["id"]))
    before = all_of(project)
    assert of(project, "bob").predictions == 20
    assert all_of(project) == [row for row in before if row["input"]["customer"] != "bob"]
    assert files_with(project.root, '"bob') == files_with(project.root, "bob") == [], "also none of the forgotten rows"


def test_an_archive_of_merged_parts_goes_into_a_ledger_that_has_some_of_them_unmerged(
    project: Project, tmp_path: Path
) -> None:
    seal(project, PEOPLE, [*PEOPLE, ANNA])
    small, large = tmp_path / "small.headrace", tmp_path / "large.headrace"
    export_ledger(project, small, blobs=True, **NO_PROGRESS)
    seal(project, PEOPLE)
    assert merge(project) == 3
    export_ledger(project, large, blobs=True, **NO_PROGRESS)
    (other := tmp_path / "other").mkdir()
    (other / "headrace.toml").write_text("")
    there = load(other)
    import_ledger(there, small, blobs=True, **NO_PROGRESS)
    import_ledger(there, large, blobs=True, **NO_PROGRESS)
    assert (all_of(there), by_part(there)) == (all_of(project), by_part(project))
    import_ledger(project, small, blobs=True, **NO_PROGRESS)
    assert (all_of(there), by_part(there)) == (all_of(project), by_part(project))
    assert of(there).waits == ()
    assert files_with(other) == []
    assert ANNA not in customers(there)
    import_ledger(there, large, blobs=True, **NO_PROGRESS)
    assert files_with(other) == []
    assert check(there, deep=True, repair=False).problems == ()


def test_a_backup_from_before_a_merge_is_restored_and_has_no_erased_person(project: Project, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    seal(project, PEOPLE, [*PEOPLE, ANNA])
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    assert merge(project) == 2
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    assert files_with(backup) != []
    sweep(project)
    assert of(project).waits == ()
    back_up(project, str(backup), keep=None, deep=True, **NO_PROGRESS)
    assert files_with(backup) == []
    (other := tmp_path / "other").mkdir()
    (other / "headrace.toml").write_text("")
    there = load(other)
    with pytest.raises(NotFoundError):
        all_of(there)
    restore(there, str(backup), name=None, merge=False, **NO_PROGRESS)
    assert (all_of(there), by_part(there)) == (all_of(project), by_part(project))
    assert files_with(other) == []
