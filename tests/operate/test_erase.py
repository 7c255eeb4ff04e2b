"""A person is in no file afterwards, wherever the erasure was killed, and everybody else's data is as it was."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, chdir, closing
from pathlib import Path
from types import FrameType

import pytest
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import BlobMissing, UsageError
from headrace.inspect.endpoints.predictions import prediction_log, predictions
from headrace.inspect.views import read
from headrace.ledger.predictions import record
from headrace.operate.endpoints.model_process import gather_blobs
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.erasure.erase import Erased, erase, resume
from headrace.operate.upkeep.backup import back_up, restore, snapshots
from headrace.operate.upkeep.transfer import export_ledger, import_ledger
from headrace.operate.upkeep.upkeep import Keep, check, collect
from headrace.project import project as projects
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, reading_store, views
from headrace.serve.predictions.feedback import Feedback
from headrace.spec.artifact import decode_ref
from tests.projects import Project as Folder
from tests.projects import lent
from tests.serve.predictions.samples import answered

ANNA = "anna-7f3a9c"
"""Whom the tests erase. No file may have this text afterwards, packed or not."""
PATIENCE_S = 60.0
PIPELINES = """
import pyarrow as pa
import pyarrow.compute as pc

import headrace as hr
from headrace.stages import ingest


@hr.stage
def people(log: pa.Table) -> pa.Table:
    names = pc.struct_field(log.column("input"), "customer")
    return pa.table({"customer": names, "answer": pc.struct_field(log.column("output"), "predicted")})


@hr.stage
def large(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table] * 400)


@hr.stage
def sizes(small: pa.Table, large: pa.Table) -> dict:
    return {"small": len(small), "large": len(large), "sum": sum(large.column("answer").to_pylist())}


@hr.stage
def made(first: str, last: str) -> pa.Table:
    return pa.table({"customer": [f"{first}-{last}"] * 1_000})


@hr.pipeline
def elsewhere() -> None:
    made("anna", "7f3a9c")


@hr.stage
def numbers(log: pa.Table) -> pa.Table:
    return pa.table({"answer": pc.struct_field(log.column("output"), "predicted")})


@hr.pipeline
def study() -> None:
    table = people(ingest.files("in/*.parquet"))
    sizes(table, large(table))
    numbers(ingest.predictions("rents"))
"""
NO_PROGRESS = {"progress": lambda *_: None}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a log of several people, and a run that made tables of it; the run's input is gone."""
    folder = tmp_path_factory.mktemp("original") / "project"
    with lent(folder, '[project]\npipelines = ["pipelines.py"]\n') as lended:
        lended.write("pipelines.py", PIPELINES)
        project = load(lended.root)
        log(project, ["bob", ANNA, "carol"])
        log(project, [ANNA])
        log(project, ["carol"] * 200 + [ANNA] + ["bob"] * 200)
        assert seal_predictions(project) == 405
        (lended.root / "in").mkdir()
        done = lended.headrace("predictions", "rents", "--to", "in/log.parquet")
        assert done.code == 0, done
        done = lended.headrace("run", "study")
        assert done.code == 0, done
        shutil.rmtree(lended.root / "in")
        log(project, [ANNA, "dora"])
        label(project, "rents")
        yield lended.root


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Project:
    return copied(original, tmp_path / "project")


def load(folder: Path) -> Project:
    with chdir(folder):
        return projects.load()


def copied(original: Path, folder: Path) -> Project:
    shutil.copytree(original, folder, symlinks=True)
    return load(folder)


def log(project: Project, customers: list[str]) -> None:
    """Log a request of each customer, as a server that has ended."""
    found = prediction_log(project)
    writer = found.writer(lambda _: None)
    for number, customer in enumerate(customers):
        given = b'[{"customer": "%s", "x": %d}]' % (customer.encode(), number)
        writer.log(replace(answered(number, given=given), endpoint="rents", version="rents:1"), None)
    assert writer.close(PATIENCE_S)
    found.close()


def label(project: Project, endpoint: str) -> None:
    """Log a label of each prediction: its customer and a word. The labels of some are sealed, of others not."""
    with read(project) as found:
        table = predictions(project, found, endpoint)
    rows = list(zip(table.column("id").to_pylist(), table.column("input").to_pylist(), strict=True))
    told = prediction_log(project)
    writer = told.writer(lambda _: None)
    for identity, row in rows:
        labels = ((identity, f"{row['customer']} said so"),)
        writer.log(Feedback(endpoint=endpoint, source="people", at=2_000.0, labels=labels), None)
    assert writer.close(PATIENCE_S)
    told.close()


def of(project: Project, customer: str = ANNA, **more: object) -> Erased:
    options: dict[str, object] = {"columns": ["customer"], "why": "asked", "dry_run": False, "waits": False}
    return erase(project, "rents", customer, say=lambda _: None, **{**options, **more})  # type: ignore[arg-type]


def customers(project: Project) -> list[str]:
    with read(project) as found:
        table = predictions(project, found, "rents")
    return sorted(each["customer"] for each in table.column("input").to_pylist())


def files_with(folder: Path, word: str = ANNA) -> list[str]:
    """Return the files below a folder that have a word, also in what is packed in them."""
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file() and has(path, word)]


def has(path: Path, word: str) -> bool:
    data, needle = path.read_bytes(), word.encode()
    if needle in data:
        return True
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                packed = archive.extractfile(member)
                if packed is not None and member.name.endswith(".rows") and needle in zlib.decompress(packed.read()):
                    return True
    return False


def test_a_person_is_in_no_file_of_log_tables_export_and_backup(project: Project, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    old = tmp_path / "old.headrace"
    export_ledger(project, old, blobs=True, **NO_PROGRESS)
    everybody = customers(project)
    assert everybody.count(ANNA) == 4
    assert files_with(project.home)
    assert files_with(backup)

    done = of(project)
    assert (done.predictions, done.unsealed, done.labels, done.parts) == (3, 1, 4, 4)
    assert (done.waits, done.unread) == ((), ())
    assert len(done.tables) >= 3, done.tables
    (below,) = done.below
    assert re.fullmatch(r"pyarrow.lib.Table, from task `numbers` of run `\S+`", below), "`sizes` gave plain numbers"
    assert any("task `predictions`" in each for each in done.tables)
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert (again.tables, again.below, again.predictions, again.blobs) == (done.tables, done.below, done.predictions, 0)
    assert files_with(project.root) == []
    assert customers(project) == [each for each in everybody if each != ANNA]

    new = tmp_path / "new.headrace"
    assert export_ledger(project, new, blobs=True, **NO_PROGRESS).lacking == ()
    assert not has(new, ANNA)
    assert back_up(project, str(backup), keep=None, deep=True, **NO_PROGRESS).erased == 1
    assert files_with(backup) == []
    assert check(project, deep=True, repair=False).problems == ()

    with pytest.raises(UsageError, match="an erasure needs a reason"):
        of(project, why=" ")
    restore(project, str(backup), name=None, merge=True, **NO_PROGRESS)
    import_ledger(project, old, blobs=True, **NO_PROGRESS)
    assert files_with(project.root) == []
    assert customers(project) == [each for each in everybody if each != ANNA]
    assert check(project, deep=True, repair=False).problems == ()


def test_an_older_backup_restores_everybody_else_and_an_older_export_is_erased_again(
    project: Project, tmp_path: Path
) -> None:
    backup, old = tmp_path / "backup", tmp_path / "old.headrace"
    first = back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS).snapshot
    export_ledger(project, old, blobs=True, **NO_PROGRESS)
    of(project)
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    new = tmp_path / "new"
    new.mkdir()
    (new / "headrace.toml").write_text("")
    fresh = load(new)
    (older,) = [name for name in names_in(project, backup) if name.startswith(first.name.rpartition("-")[0])][:1]
    restore(fresh, str(backup), name=older, merge=False, **NO_PROGRESS)
    assert customers(fresh) == [each for each in customers(project) if each != "dora"]
    assert files_with(new) == []
    import_ledger(fresh, old, blobs=True, **NO_PROGRESS)
    assert files_with(new) == []
    assert check(fresh, deep=True, repair=False).problems == ()


def names_in(project: Project, backup: Path) -> list[str]:
    return [each.name for each in snapshots(project, str(backup))]


class Killed(BaseException):
    """What ends an erasure in the midst."""


STEPS = ("erasures.py", "sqlite.py", "folder.py", "write_batch.py", "sealing.py", "log.py")


class Killer:
    """Ends this thread's work at the Nth call of a function that changes ledger, store or log."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        is_step = frame.f_code.co_filename.endswith(STEPS) and frame.f_code.co_name != "<genexpr>"  # it may be closing
        if event == "call" and is_step:
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                raise Killed


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # what is killed closes nothing
@pytest.mark.parametrize(
    "part", [0, pytest.param(1, marks=pytest.mark.heavy), 2, pytest.param(3, marks=pytest.mark.heavy)]
)
def test_an_erasure_that_was_killed_anywhere_is_completed_by_resume(original: Path, tmp_path: Path, part: int) -> None:
    at, is_killed = 1 + part * 11, True
    while is_killed:
        project = copied(original, tmp_path / str(at))
        expected = [each for each in customers(project) if each != ANNA]
        sys.setprofile(Killer(at))
        try:
            of(project)
            is_killed = False
        except Killed:
            pass
        finally:
            sys.setprofile(None)
        with read(project) as found:
            is_begun = bool(found.erasures())
        done = resume(project, waits=False, say=lambda _: None)
        if is_begun:
            if drafts := [*(project.home / "store" / "tmp").iterdir()]:
                assert "unfinished file" in str(done[0].waits)
                for each in drafts:
                    os.utime(each, (0, 0))
                done = resume(project, waits=False, say=lambda _: None)
            assert [each.waits for each in done] == [()]
            assert files_with(project.root) == [], at
            assert customers(project) == expected, at
            assert check(project, deep=True, repair=False).problems == (), at
        shutil.rmtree(project.root)
        gc.collect()  # or another test would be told of what wasn't closed here
        at += 44


def test_a_dry_run_tells_the_same_and_changes_nothing(project: Project) -> None:
    seal_predictions(project)
    before = {path: path.read_bytes() for path in project.home.rglob("*") if path.is_file()}
    told = of(project, dry_run=True, why="")
    after = {path: path.read_bytes() for path in project.home.rglob("*") if path.is_file()}
    assert [path for path, data in after.items() if "ledger.db" not in path.name and before.get(path) != data] == []
    done = of(project)
    assert (told.predictions, told.labels, told.parts) == (done.predictions, done.labels, done.parts)
    assert (set(told.tables), told.below) == (set(done.tables), done.below)
    assert any("task `predictions`" in each for each in told.tables)
    with read(project) as found:
        assert len(found.erasures()) == 1


def test_what_was_erased_says_so(project: Project) -> None:
    with views(project) as found:
        out = decode_ref(found.task("latest", "large").out or b"")
    of(project)
    with pytest.raises(BlobMissing, match=r"was erased on \d{4}-\d\d-\d\d: asked") as error:
        Codecs().load(out, reading_store(project))
    assert error.value.hint is not None
    assert "headrace erasures" in error.value.hint
    folder = Folder(project.root)
    got = folder.headrace("get", "latest", "large")
    assert (got.code, "was erased on" in got.err) == (2, True), got
    small = folder.headrace("get", "latest", "people")
    assert (small.code, "was erased on" in small.err) == (2, True), small


def test_the_collector_deletes_what_a_region_still_has_and_the_checker_names_it(project: Project) -> None:
    store = open_store(project)
    with views(project) as found:
        out = decode_ref(found.task("latest", "large").out or b"")
    data = store.path(out.digest, out.nonce or "").read_bytes()
    of(project)
    with store.batch() as batch:
        batch.replicate(out.digest, out.nonce or "", io.BytesIO(data))
    (problem,) = check(project, deep=True, repair=False).problems
    assert "is still in region `local`" in problem.what
    assert collect(project, Keep(), dry_run=False).reasons[0].reason == "erased together with a person's data"
    assert check(project, deep=True, repair=False).problems == ()


def test_whoever_seals_at_the_same_time_leaves_the_person_out(project: Project) -> None:
    seal_predictions(project)
    of(project)
    log(project, [ANNA, "emil"])
    assert seal_predictions(project) == 1
    assert customers(project).count(ANNA) == 0
    with open_ledger(project) as ledger:
        assert record(ledger, []) is False, "a sealer that didn't know of the erasure"


def test_a_region_that_is_away_is_named_and_done_later(project: Project, tmp_path: Path) -> None:
    place, away = tmp_path / "far", tmp_path / "away"
    settings = (project.root / "headrace.toml").read_text()
    far = f'[region.far]\nstore = "{place}"\n[pool.far]\nbackend = "local"\nregion = "far"\n'
    (project.root / "headrace.toml").write_text(f"{settings}\n{far}")
    project = load(project.root)
    done = Folder(project.root).headrace("run", "elsewhere", "--pool", "far")
    assert done.code == 0, done
    place.rename(away)
    (unfound,) = of(project, "nobody").waits  # something unfinished there may hold the person
    (told,) = of(project).waits
    assert unfound == told == f"region `far` can't be reached: there is no folder `{place}`"
    assert files_with(project.root) == []
    assert files_with(away) != []
    assert "isn't complete" in [each.what for each in check(project, deep=False, repair=False).problems]
    away.rename(place)
    (_, again) = resume(project, waits=False, say=lambda _: None)
    assert (again.waits, again.unread) == ((), ())
    assert files_with(tmp_path) == []
    assert check(project, deep=True, repair=False).problems == ()


def test_an_endpoint_without_a_key_says_how_to_name_one(project: Project) -> None:
    with pytest.raises(UsageError) as error:
        of(project, columns=[])
    assert "--column" in (error.value.hint or "")


def test_a_table_that_only_older_snapshots_have_is_erased_from_them(project: Project, tmp_path: Path) -> None:
    folder, backup = Folder(project.root), tmp_path / "backup"
    assert folder.headrace("run", "elsewhere").code == 0
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    (project.root / "pipelines.py").write_text(
        f"{PIPELINES}\n\n@hr.pipeline\ndef other() -> None:\n    made('b', 'c')\n"
    )
    assert folder.headrace("run", "other").code == 0
    collect(project, Keep(runs=1), dry_run=False)
    assert of(project).waits == ()
    assert files_with(backup) != []
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    assert files_with(backup) == []
    with read(project) as found:
        assert any(
            each.what.startswith("a table of the backup") for each in found.erased_by(found.erasures()[0].erasure)
        )


def test_a_server_whose_model_has_an_erased_table_must_be_restarted(project: Project) -> None:
    with views(project) as found:
        out = decode_ref(found.task("latest", "large").out or b"")
    folder = project.home / f"models-{os.getpid()}" / "rents-1-0"
    folder.mkdir(parents=True)
    gather_blobs(project, [out], folder)
    (left,) = of(project).waits
    server = f"the server with the process id {os.getpid()}"
    then = "run the pipeline that deploys it, then restart the server"
    assert left == f"{server} has a model with erased tables: {then}"
    with read(project) as found_:
        assert found_.erasures()[0].done is None
    shutil.rmtree(folder)
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert again.waits == ()


def test_a_run_that_starts_in_the_midst_keeps_the_erasure_from_being_complete(project: Project) -> None:
    begun = ExitStack()

    def begin(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "_clear" and code.co_filename.endswith("erase.py"):
            sys.setprofile(None)
            ledger = begun.enter_context(open_ledger(project))
            db = begun.enter_context(closing(ledger.connect()))
            begun.callback(db.leases.acquire("a-new-run").release)

    sys.setprofile(begin)
    try:
        done = of(project)
    finally:
        sys.setprofile(None)
    assert done.waits == ("run `a-new-run` is active, and free pages of the ledger may hold small tables",)
    begun.close()
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert again.waits == ()
