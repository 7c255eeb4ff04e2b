"""A person is in no file afterwards, also if parts of the log were merged before, and everybody else's data stays."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.compute as pc
import pytest

from headrace.codec.codecs import Codecs
from headrace.inspect.endpoints.labels import labelled
from headrace.inspect.endpoints.predictions import predictions
from headrace.inspect.views import read
from headrace.ledger import parts
from headrace.ledger.exclusive import alone
from headrace.ledger.records import PREDICTION_PARTS
from headrace.ledger.standing.tables import BY_TABLE
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.operate.erasure.erase import resume
from headrace.operate.upkeep.backup import back_up, restore
from headrace.operate.upkeep.prediction_logs import LogRules
from headrace.operate.upkeep.transfer import export_ledger, import_ledger
from headrace.operate.upkeep.upkeep import Keep, check, collect
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store
from headrace.spec.artifact import decode_ref, slice_of
from tests.operate.test_erase import (
    ANNA,
    NO_PROGRESS,
    Killed,
    Killer,
    copied,
    customers,
    files_with,
    label,
    load,
    log,
    of,
)

OTHERS = ["bob", "carol"] * 40


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A log of three parts, two of which have the person, with labels of all predictions."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headrace.toml").write_text("")
    project = load(folder)
    for people in ([*OTHERS, ANNA], OTHERS, [ANNA, *OTHERS, ANNA]):
        log(project, people)
    assert seal_predictions(project) == 243
    label(project, "rents")
    seal_predictions(project)
    return project


def rows(project: Project) -> list[dict[str, object]]:
    with read(project) as views:
        found = labelled(project, views, "rents", predictions(project, views, "rents"))
    return [dict(row) for row in found.to_pylist()]


def merged(project: Project) -> int:
    """Merge the log, and return how many parts were merged."""
    return sum(each.parts for each in collect(project, Keep(), dry_run=False).merged)


def without_anna(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return [row for row in found if row["input"]["customer"] != ANNA]  # type: ignore[index]


def test_a_person_in_a_merged_log_is_in_no_file_not_even_of_the_tables_that_were_replaced(project: Project) -> None:
    everybody, was = customers(project), rows(project)
    dry = of(project, dry_run=True)
    assert merged(project) >= 3
    assert len(files_with(project.root)) >= 3, "the replaced tables are there until the next pass"
    done = of(project)
    assert (done.predictions, done.labels, done.parts) == (3, 3, dry.parts) == (dry.predictions, dry.labels, dry.parts)
    assert done.waits == ()
    assert files_with(project.root) == []
    assert customers(project) == [each for each in everybody if each != ANNA]
    assert rows(project) == without_anna(was)
    assert check(project, deep=True, repair=False).problems == ()
    assert merged(project) == 0
    (again,) = resume(project, waits=False, say=lambda _: None)
    assert (again.predictions, again.parts, again.blobs) == (done.predictions, done.parts, 0)
    assert rows(project) == without_anna(was)


def test_a_part_that_had_only_the_person_keeps_nothing_of_the_others(project: Project) -> None:
    log(project, [ANNA] * 80)
    seal_predictions(project)
    merged(project)
    of(project)
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        every = list(BY_TABLE["prediction_parts"].rows(db))
    assert [row.count for row in every] == [80, 80, 80, 0]
    assert [slice_of(decode_ref(row.out)) is not None for row in every] == [True, True, True, False]


def test_rows_that_were_forgotten_in_a_merged_table_hide_nobody(project: Project) -> None:
    assert merged(project) >= 3
    empty = LogRules(project).empty(is_labels=False)
    with open_ledger(project) as ledger, closing(ledger.connect()) as db:
        found = list(PREDICTION_PARTS.read(db.execute(db.sql.PREDICTION_PARTS_SINCE, ("rents", 0.0))))
        db.atomically(lambda: parts.rewrite(db, found[0], empty, 0, is_labels=False))
    left = rows(project)
    assert len(left) == 243 - found[0].count
    of(project)
    assert files_with(project.root) == []
    assert rows(project) == without_anna(left)


def test_a_table_that_a_killed_merger_has_left_hides_nobody(project: Project) -> None:
    was = rows(project)
    with open_ledger(project) as ledger, closing(ledger.connect()) as db, alone(ledger, "a test") as lease:
        found = PREDICTION_PARTS.read(db.execute(db.sql.PREDICTION_PARTS_SINCE, ("rents", 0.0)))
        LogRules(project).merged([decode_ref(row.out) for row in found], lease.renew, dry_run=False)
    assert of(project).waits == ()
    assert files_with(project.root) == []
    assert rows(project) == without_anna(was)


def test_a_blob_that_nobody_names_and_that_is_about_others_stays(project: Project) -> None:
    with read(project) as views:
        table = predictions(project, views, "rents")
    table = table.filter(pc.not_equal(pc.struct_field(table.column("input"), "customer"), ANNA))
    ref = Codecs().save(table, open_store(project))
    assert of(project).waits == ()
    assert open_store(project).size(ref.digest, ref.nonce or "") is not None


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # what is killed closes nothing
def test_an_erasure_of_a_merged_log_that_was_killed_anywhere_is_completed_by_resume(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = without_anna(rows(project))
    merged(project)
    at, is_killed = 1, True
    while is_killed:
        copy = copied(project.root, tmp_path_factory.mktemp("copy") / "project")
        sys.setprofile(Killer(at))
        try:
            of(copy)
            is_killed = False
        except Killed:
            pass
        finally:
            sys.setprofile(None)
        with read(copy) as views:
            is_begun = bool(views.erasures())
        for draft in (copy.home / "store" / "tmp").iterdir():
            os.utime(draft, (0, 0))
        done = resume(copy, waits=False, say=lambda _: None)
        if is_begun:
            assert [each.waits for each in done] == [()]
            assert files_with(copy.root) == [], at
            assert rows(copy) == expected, at
            assert check(copy, deep=True, repair=False).problems == (), at
        shutil.rmtree(copy.root)
        gc.collect()
        at += 29


def test_archives_of_a_merged_log_bring_everybody_but_the_person(project: Project, tmp_path: Path) -> None:
    was = rows(project)
    merged(project)
    backup, old, new = tmp_path / "backup", tmp_path / "old.headrace", tmp_path / "new.headrace"
    back_up(project, str(backup), keep=None, deep=False, **NO_PROGRESS)
    export_ledger(project, old, blobs=True, **NO_PROGRESS)
    of(project)
    export_ledger(project, new, blobs=True, **NO_PROGRESS)
    for number, archives in enumerate([(old, new), (new, old)]):
        folder = tmp_path / f"fresh-{number}"
        folder.mkdir()
        (folder / "headrace.toml").write_text("")
        fresh = load(folder)
        for archive in archives:
            import_ledger(fresh, archive, blobs=True, **NO_PROGRESS)
        merged(fresh)
        assert rows(fresh) == without_anna(was), archives
        assert files_with(folder) == []
        assert check(fresh, deep=True, repair=False).problems == ()
    restore(project, str(backup), name=None, merge=True, **NO_PROGRESS)
    assert rows(project) == without_anna(was)
    assert merged(project) == 0
    assert files_with(project.home) == []
    assert check(project, deep=True, repair=False).problems == ()
