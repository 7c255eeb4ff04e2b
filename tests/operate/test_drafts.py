"""What an erasure does with the unfinished files of a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.ledger import erasures
from headrace.ledger.ledger import Ledger
from headrace.operate.erasure.drafts import discard_drafts
from headrace.operate.erasure.erase import resume
from headrace.project import project as projects
from headrace.project.project import Project
from headrace.project.state import open_ledger
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Erasure
from headrace.store.folder.folder import FolderStore
from tests.ledger.samples import edit, first, run_row, task_row
from tests.servers.postgres import Postgres

NOW = 1_000_000_000.0
HOUR_S = 3600.0


@pytest.fixture(params=["sqlite", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project whose ledger has an erasure that found nothing and isn't complete."""
    settings = ""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        settings = f'[ledger]\nurl = "{server.database()}"\n'
    (tmp_path / "headrace.toml").write_text(settings)
    with chdir(tmp_path):
        project = projects.load()
    with open_ledger(project) as ledger:
        erasures.begin(
            ledger, Erasure(id="e1", endpoint="rents", columns=("name",), salt="00", digest="11", at=NOW, why="asked")
        )
    return project


@pytest.fixture
def ledger(project: Project) -> Iterator[Ledger]:
    with open_ledger(project) as ledger:
        yield ledger


class Dated(FolderStore):
    """A store whose clock stands still."""

    def now(self) -> float:
        return NOW


@pytest.fixture
def store(tmp_path: Path) -> Dated:
    store = Dated(tmp_path / "dated")
    store.put(b"something")
    return store


def left(ledger: Ledger, store: FolderStore, *drivers: str) -> str | None:
    with closing(ledger.connect()) as db:
        return discard_drafts(db, store, drivers)


def draft(store: FolderStore, age_s: float) -> Path:
    path = store.root / "tmp" / f"{age_s:016.0f}"
    path.write_text("anna")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def waits(project: Project) -> tuple[str, ...]:
    (done,) = resume(project, waits=False, say=lambda _: None)
    return done.waits


def test_an_unfinished_file_is_deleted_once_it_is_an_hour_old_though_the_erasure_found_nothing(
    project: Project,
) -> None:
    path = project.home / "store" / "tmp" / "0123456789abcdef"
    path.parent.mkdir(parents=True)
    path.write_text("anna")
    (why,) = waits(project)
    assert "1 unfinished file may hold the person" in why
    assert "cancel" not in why
    os.utime(path, (0, 0))
    assert (waits(project), path.exists()) == ((), False)


@pytest.mark.parametrize("ahead_s", [-86400.0, 0.0, 1200.0, 86400.0])
def test_a_file_that_an_attempt_in_progress_may_need_stays_however_far_apart_the_clocks_are(
    ledger: Ledger, store: Dated, ahead_s: float
) -> None:
    """The attempt has run for four hours; `ahead_s` is how far the clock of its driver is ahead of the store's."""
    begun = NOW - 4 * HOUR_S
    blob = store.put(b"bundle")
    os.utime(store.path(blob.digest, blob.nonce), (begun, begun))
    bundle = Ref(digest=blob.digest, size=blob.size, codec="bundle", type="bundle", nonce=blob.nonce)
    path = draft(store, 3 * HOUR_S)
    with ledger.open_run("flights") as run:
        row = task_row(state="running", started=begun + ahead_s)
        run.commit(first(run=run_row(bundle=bundle.digest, created=begun + ahead_s), tasks=[row], kept=[bundle]))
        why = left(ledger, store, run.run)
    assert path.exists()
    assert why is not None
    assert "1 unfinished file may hold the person" in why
    assert run.run not in why, "it ends by itself"
    why = left(ledger, store)
    assert why is not None
    assert why.endswith(f"resume or cancel each run that has no driver and may need them: `{run.run}`")


def test_only_what_is_older_than_each_attempt_in_progress_goes(ledger: Ledger, store: Dated) -> None:
    older, young = draft(store, 3 * HOUR_S), draft(store, HOUR_S / 2)
    with ledger.open_run("flights") as run:
        run.commit(first(run=run_row(created=NOW - HOUR_S), tasks=[task_row(state="running", started=NOW - HOUR_S)]))
    assert f"`{run.run}`" in (left(ledger, store) or "")
    assert (older.exists(), young.exists()) == (False, True)


def test_a_store_that_is_full_is_as_late_as_its_newest_blob(ledger: Ledger, tmp_path: Path) -> None:
    class Full(FolderStore):
        def now(self) -> float:
            raise StoreError("the disk is full")

    store = Full(tmp_path / "full")
    blob = store.put(b"newest")
    os.utime(store.path(blob.digest, blob.nonce), (NOW, NOW))
    path = draft(store, 2 * HOUR_S)
    assert (left(ledger, store), path.exists()) == (None, False)


def test_a_run_whose_driver_was_killed_is_not_active(project: Project, ledger: Ledger) -> None:
    with closing(ledger.connect()) as db:
        held = db.leases.acquire("killed")
        assert waits(project) == ("run `killed` is active: it may still make a table that holds the person",)
        if project.config.ledger.url:  # as if it had been killed a minute ago: the server keeps its row
            edit(ledger, "update leases set token = 0, expires = now() - interval '60 s' where name = 'killed'")
        else:
            held.release()
        assert waits(project) == ()
        held.release()
