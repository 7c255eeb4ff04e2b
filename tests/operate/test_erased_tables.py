"""Tables with a person go, whoever made them and wherever they lie: made meanwhile, or only in older snapshots."""

from __future__ import annotations

import atexit
import re
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

import pytest
from msgspec.structs import replace

from headrace.errors import LedgerError, UsageError
from headrace.inspect.endpoints.erasures import erasures
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.inspect.views import read
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.erasure.erase import erase, resume
from headrace.operate.upkeep.backup import back_up, restore, snapshots
from headrace.operate.upkeep.upkeep import Keep, check, collect
from headrace.project.project import Project
from headrace.project.state import open_ledger
from headrace.spec.endpoint import CLOCKS_S
from headrace.store.folder.folder import FolderStore
from headrace.store.folder.spool import Spool
from tests.operate.test_erase import ANNA, NO_PROGRESS, PATIENCE_S, customers, files_with, load, log, of
from tests.projects import Project as Folder
from tests.projects import lent
from tests.serve.predictions.samples import answered

PIPELINES = """
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare


@hr.stage
def named(column: str, first: str, last: str) -> pa.Table:
    return pa.table({column: [f"{first}-{last}", "bob"] * 30})


@hr.pipeline
def cleaned(column: str = "customer") -> None:
    size(prepare.clean(named(column, "anna", "7f3a9c"), [prepare.Rename(names={column: "customer"})]).table)


@hr.stage
def size(table: pa.Table) -> pa.Table:
    return pa.table({"rows": [len(table)]})


@hr.stage
def made(first: str, last: str) -> pa.Table:
    return pa.table({"customer": [f"{first}-{last}"] * 1_000})


@hr.stage
def equal(first: str, last: str) -> pa.Table:
    return pa.table({"customer": [f"{first}-{last}"] * 1_000})


@hr.stage
def beside(table: pa.Table) -> pa.Table:
    return table.append_column("x", [[1] * len(table)])


@hr.pipeline
def first() -> None:
    made("anna", "7f3a9c")


@hr.pipeline
def other() -> None:
    made("bob", "7f3a9c")


@hr.pipeline
def second() -> None:
    equal("anna", "7f3a9c")


@hr.pipeline
def after() -> None:
    beside(made("anna", "7f3a9c"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A project whose endpoint has a log."""
    with made(tmp_path, PIPELINES) as lended:
        yield lended


@contextmanager
def made(folder: Path, pipelines: str) -> Iterator[Folder]:
    with lent(folder / "project", '[project]\npipelines = ["pipelines.py"]\n') as lended:
        lended.write("pipelines.py", pipelines)
        log(load(lended.root), ["bob"])
        seal_predictions(load(lended.root))
        yield lended


def ran_first(folder: Folder) -> Project:
    """Return the project after a run of `first`. It happens once, in another folder with the same code."""
    shutil.rmtree(folder.home)
    shutil.copytree(_home_after_first((folder.root / "pipelines.py").read_text()), folder.home, symlinks=True)
    return load(folder.root)


@cache
def _home_after_first(pipelines: str) -> Path:
    root = Path(tempfile.mkdtemp(prefix="headrace-erased-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    with made(root, pipelines) as folder:
        run(folder, "first")
    return folder.home


def run(folder: Folder, *names: str) -> Project:
    for name in names:
        done = folder.headrace("run", name)
        assert done.code == 0, done
    return load(folder.root)


def save(project: Project, backup: Path) -> str:
    return back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS).snapshot.name


def test_a_table_that_a_run_makes_between_the_search_and_the_erasure_goes_too(folder: Folder) -> None:
    project = ran_first(folder)

    def begin(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "_below" and code.co_filename.endswith("erase.py"):
            sys.setprofile(None)
            run(folder, "after")

    sys.setprofile(begin)
    try:
        done = of(project)
    finally:
        sys.setprofile(None)
    assert done.waits == ()
    assert any("task `beside`" in each for each in done.tables), done
    assert files_with(project.root) == []
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert again.tables == done.tables


def test_an_equal_copy_that_only_an_older_snapshot_has_is_erased_from_it(folder: Folder, tmp_path: Path) -> None:
    ran_first(folder)
    project, backup = run(folder, "second"), tmp_path / "backup"
    save(project, backup)
    collect(project, Keep(), dry_run=False)
    assert of(project).waits == ()
    done = back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    assert files_with(backup) == []
    assert done.erased == 1, "the new snapshot isn't an older one"
    assert snapshots(project, str(backup))[-1] == done.snapshot


def test_a_backup_after_an_erasure_and_a_new_run_leaves_the_project_as_it_is_and_restores_all_that_it_names(
    folder: Folder, tmp_path: Path
) -> None:
    project, backup = ran_first(folder), tmp_path / "backup"
    assert of(project).waits == ()
    run(folder, "first")  # its source still has the person
    before = rows_of(project)
    planned = folder.headrace("plan", "first").out

    told = folder.headrace("backup", str(backup))
    assert (told.code, "older snapshot" in told.out) == (0, False), told
    (listed,) = snapshots(project, str(backup))
    assert told.out.startswith(f"{listed.name}: ")
    assert rows_of(project) == before
    assert folder.headrace("plan", "first").out == planned
    assert check(project, deep=True, repair=False).problems == ()
    again = folder.headrace("backup", str(backup), "--json").json
    assert (again["erased"], again["copied"]) == (0, 0)
    assert [each.name for each in snapshots(project, str(backup))] == [listed.name, again["snapshot"]["name"]]
    assert rows_of(project) == before

    new = tmp_path / "new"
    new.mkdir()
    (new / "headrace.toml").write_text("")
    imported = restore(load(new), str(backup), name=listed.name, merge=False, **NO_PROGRESS).imported
    assert (imported.blobs, imported.lacking) == (listed.blobs, ())
    assert files_with(new) == [], "a restore erases the person again, as docs/erasure.md says"


def test_an_older_snapshot_with_the_person_is_the_only_one_that_is_written_again(
    folder: Folder, tmp_path: Path
) -> None:
    project, backup = ran_first(folder), tmp_path / "backup"
    older = back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS).snapshot
    assert of(project).waits == ()
    done = back_up(run(folder, "first"), str(backup), keep=None, deep=False, **NO_PROGRESS)
    again, newest = snapshots(project, str(backup))
    assert (done.erased, done.snapshot) == (1, newest)
    assert (again.made, again.name != older.name) == (older.made, True)
    assert again.blobs < older.blobs
    assert again.bytes < older.bytes
    assert check(project, deep=True, repair=False).problems == ()


def test_a_table_of_an_older_snapshot_that_can_not_be_read_is_told_and_leaves_the_erasure_complete(
    folder: Folder, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    save(ran_first(folder), backup)
    project = run(folder, "other")
    assert len(collect(project, Keep(runs=1), dry_run=False).runs) == 1
    for path in files_with(backup):
        if not tarfile.is_tarfile(backup / path):
            (backup / path).chmod(0o600)
            (backup / path).write_bytes(b"no table")
    assert of(project).waits == ()
    for _ in range(2):
        save(project, backup)
        with read(project) as views:
            (erasure,) = erasures(views)
        assert erasure.done is not None
        (told,) = erasure.unread
        assert "a table of the backup `backup-" in told


@pytest.mark.parametrize("step", [(Spool, "forget"), (FolderStore, "delete_all")])
def test_a_backup_that_was_killed_while_it_erased_leaves_no_snapshot_twice_and_no_archive_with_the_person(
    step: tuple[type, str], folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("pipelines.py", PIPELINES.replace("1_000", "10"))  # small: it lies in the ledger
    project, backup = ran_first(folder), tmp_path / "backup"
    older = [back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS).snapshot for _ in range(2)]
    assert of(project).waits == ()

    class Killed(BaseException):
        """Instead of a kill, when both snapshots are written again."""

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        killed.setattr(*step, kill)
        with pytest.raises(Killed):
            save(project, backup)

    named = [each.name for each in snapshots(project, str(backup))]
    assert len(named) == 5, "two of them twice"
    for place, name in enumerate(named[:2]):
        new = tmp_path / str(place)
        new.mkdir()
        (new / "headrace.toml").write_text("")
        done = restore(load(new), str(backup), name=name, merge=False, **NO_PROGRESS)
        assert done.snapshot.made in [each.made for each in older]
        assert files_with(new) == [], "the copy without the person is restored"

    again = back_up(project, str(backup), keep=4, deep=False, **NO_PROGRESS)
    left = snapshots(project, str(backup))
    assert [each.made for each in left][:2] == [each.made for each in older], "the two oldest are kept"
    assert (len(left), again.forgotten, again.erased) == (4, (), 0)
    assert files_with(backup) == []


def test_a_table_that_a_run_makes_while_a_backup_searches_older_snapshots_stays_usable(
    folder: Folder, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    folder.write("pipelines.py", PIPELINES.replace("1_000", "10"))  # small: it lies in the ledger
    save(ran_first(folder), backup)
    project = run(folder, "other")
    assert len(collect(project, Keep(runs=1), dry_run=False).runs) == 1
    assert of(project).tables == ()

    is_marking, reread = False, set[int]()

    def begin(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "_is_about" and code.co_filename.endswith("backups.py"):
            sys.setprofile(None)
            run(folder, "first")
            sys.setprofile(note)

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal is_marking
        code = frame.f_code
        if code.co_name == "_mark_absent" and event in ("call", "return"):
            is_marking = event == "call"
        if is_marking and code.co_name == "events" and code.co_filename.endswith("scan.py"):
            reread.add(frame.f_locals["run"])

    sys.setprofile(begin)
    try:
        save(project, backup)
    finally:
        sys.setprofile(None)
    assert len(reread) == 1, "drivers can't write meanwhile, so only the new run is read"
    assert not any("it was erased" in row for row in rows_of(project))
    assert "reuse" in folder.headrace("plan", "first").out


def rows_of(project: Project) -> list[str]:
    """Return all rows of a project's ledger, as SQL."""
    with closing(sqlite3.connect(project.home / "ledger.db")) as db:
        return list(db.iterdump())


def test_an_event_that_nobody_can_read_keeps_no_backup_from_being_made(folder: Folder, tmp_path: Path) -> None:
    project, backup = ran_first(folder), tmp_path / "backup"
    assert of(project).waits == ()
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        db.execute("UPDATE events SET body = x'c1' WHERE seq = 1")
    save(project, backup)
    save(project, backup)


def test_an_event_that_nobody_can_read_keeps_no_table_from_being_erased(folder: Folder) -> None:
    project = run(folder, "first", "after")
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        db.execute("UPDATE events SET body = x'c1' WHERE seq = 1")
    done = of(project)
    assert (done.waits, done.below) == ((), ())
    assert all("an event of a run can't be read (`headrace fsck` names it)" in each for each in done.unread)
    assert [each.split(" `")[0] for each in done.unread] == ["what was made from the table"] * 2
    assert files_with(project.root) == []


def test_a_part_of_a_log_that_only_another_snapshot_has_is_kept_if_it_is_newer_than_the_erasure(
    folder: Folder, tmp_path: Path
) -> None:
    project, backup = load(folder.root), tmp_path / "backup"
    assert of(project).waits == ()
    save(project, backup)
    with read(project) as found:
        at = found.erasures()[0].at + CLOCKS_S + 1
    logs = prediction_log(project)
    writer = logs.writer(lambda _: None)
    for number, customer in enumerate((ANNA, "carol")):
        given = b'[{"customer": "%s", "x": 1}]' % customer.encode()
        writer.log(replace(answered(number, given=given), endpoint="rents", version="rents:1", at=at), None)
    assert writer.close(PATIENCE_S)
    logs.close()
    assert seal_predictions(project) == 2
    save(project, backup)
    for number in range(2):  # a project that goes on from the first snapshot, and one from the second
        place = tmp_path / str(number)
        place.mkdir()
        (place / "headrace.toml").write_text('[project]\nname = "project"\n')
        name = snapshots(project, str(backup))[number].name
        restore(load(place), str(backup), name=name, merge=False, **NO_PROGRESS)
        save(load(place), backup)
    assert customers(load(tmp_path / "1")) == [ANNA, "bob", "carol"]


def test_a_damaged_snapshot_keeps_no_person_in_the_others_and_can_be_displaced(folder: Folder, tmp_path: Path) -> None:
    project, backup = ran_first(folder), tmp_path / "backup"
    for _ in range(2):
        save(project, backup)
    oldest = snapshots(project, str(backup))[0]
    (archive,) = [path for path in backup.rglob("*") if path.name == f"{oldest.digest}.{oldest.nonce}"]
    archive.chmod(0o600)
    archive.write_bytes(b"damaged")
    assert of(project).waits == ()
    for keep in (3, 2):
        with pytest.raises(LedgerError, match=f"the backup `{oldest.name}` can't be used"):
            back_up(project, str(backup), keep=keep, deep=False, **NO_PROGRESS)
        assert files_with(backup) == []
    save(project, backup)


def test_source_files_of_runs_with_the_person_are_named_and_go_with_their_runs(folder: Folder) -> None:
    people = f'["{ANNA}", "bob"]'
    folder.write("people.json", people)
    folder.write("notes.txt", f"not {ANNA}x, nor x{ANNA}")
    run(folder, "first", "second")
    (folder.root / "people.json").unlink()
    project = run(folder, "first", "second")
    (named,) = of(project, dry_run=True, why="").bundles
    assert re.fullmatch(r"`people.json` in the source files of run `\S+-second-\S+` and of 1 other run", named), named
    done = of(project)
    assert (done.bundles, done.waits) == ((named,), ())
    with read(project) as views:
        (view,) = erasures(views)
    assert (view.bundles, view.until) == ((named,), view.at + CLOCKS_S)
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert again.bundles == (named,)
    assert files_with(project.home, people) != []
    collect(project, Keep(runs=1), dry_run=False)
    (unpacked,) = files_with(project.home, people)
    assert unpacked.startswith("store/bundles/"), "it was used just now, as docs/erasure.md says"
    assert of(project).bundles == ()


@pytest.mark.parametrize("column", ["customer", "whom"])
def test_a_small_preparation_that_may_list_the_person_is_named_and_a_new_run_makes_one_without(
    folder: Folder, column: str
) -> None:
    done = folder.headrace("run", "cleaned", "--column", column)
    assert done.code == 0, done
    assert folder.headrace("get", "latest", "clean.preparation", "--to", "it.json").code == 0
    assert ANNA in (folder.root / "it.json").read_text()
    told = "preparation, which may list the person's value as a category, from task `clean` of run `"
    below = of(load(folder.root), dry_run=True).below
    assert [each for each in below if each.startswith(told)]
    assert [each for each in below if "from task `size`" in each]
    assert [each for each in of(load(folder.root)).below if each.startswith(told)]
    (folder.root / "pipelines.py").write_text(PIPELINES.replace('"anna", "7f3a9c"', '"carol", "1"'))
    assert folder.headrace("run", "cleaned", "--column", column).code == 0
    assert folder.headrace("get", "latest", "clean.preparation", "--to", "new.json").code == 0
    assert ANNA not in (folder.root / "new.json").read_text()


def test_what_a_run_made_of_the_person_under_an_earlier_code_is_named_with_its_digest(folder: Folder) -> None:
    assert folder.headrace("run", "cleaned").code == 0
    shown = folder.headrace("show", "latest", "--json").json
    (clean,) = [task for task in shown["tasks"] if task["name"] == "clean"]
    (digest,) = [each["digest"] for each in clean["outputs"] if each["name"] == "preparation"]
    rename = 'prepare.Rename(names={column: "customer"})'
    folder.write("pipelines.py", PIPELINES.replace(rename, f'{rename}, prepare.Trim(columns="customer")'))
    assert folder.headrace("resume", "latest", "--new-code").code == 0
    told = "preparation, which may list the person's value as a category, from task `clean` of run"
    now = f"{told} `{shown['run']}`"
    below = of(load(folder.root)).below
    assert below[:2] == (now, f"{now} under an earlier code: `{digest[:12]}`")
    assert folder.headrace("get", digest, "--to", "it.json").code == 0
    assert ANNA in (folder.root / "it.json").read_text()


def test_an_empty_key_is_refused(folder: Folder) -> None:
    with pytest.raises(UsageError, match="the person's key is empty"):
        of(load(folder.root), "")


def test_an_erasure_that_ends_in_the_midst_says_how_to_complete_it(folder: Folder) -> None:
    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_clear" and frame.f_code.co_filename.endswith("erase.py"):
            raise KeyboardInterrupt

    said: list[str] = []
    project = load(folder.root)
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            erase(
                project, "rents", "bob", columns=["customer"], why="asked", dry_run=False, waits=False, say=said.append
            )
    finally:
        sys.setprofile(None)
    (told,) = said
    assert "is recorded, but not complete: `headrace erase --resume` completes it" in told
    assert customers(project) == []
    assert [each.waits for each in resume(project, waits=False, say=said.append)] == [()]
