"""Which regions that the settings don't have may have an output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.ledger.ledger import Ledger
from headrace.ledger.run_ledger import RunLedger
from headrace.operate.pools.regions import Absent
from headrace.project.project import Project
from headrace.project.settings import Config, StoreSection
from headrace.project.state import open_store
from headrace.run.events import Taken, encode_event
from headrace.spec.artifact import generations
from headrace.waits import hurry, take_time
from tests.ledger.samples import after, blob, edit, first, open_ledger

TAKEN = Taken(1, "ada", 0.0, pool="laptop", region="local", others=(("big", "far"), ("huge", "farther")))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[RunLedger]:
    """A run that was in the home region and in two regions of other settings, and keeps a blob."""
    with ledger.open_run("flow") as lease:
        lease.commit(first([encode_event(TAKEN)], kept=[blob("out")]))
        yield lease


def project(folder: Path, **store: str) -> Project:
    project = Project(root=folder, home=folder / ".headrace", files=(), config=Config(store=StoreSection(**store)))
    project.make_home()
    return project


def test_regions_of_other_settings_are_named_unless_a_store_of_the_settings_has_the_blob(
    tmp_path: Path, lease: RunLedger
) -> None:
    here = project(tmp_path)
    absent = Absent(here, lease)
    (missing,) = generations(blob("out"))
    assert absent.may_have(missing) == {"far", "farther"}
    stored = open_store(here).put(b"stored")
    lease.commit(after(lease, kept=[blob("stored", stored.nonce)]))
    assert absent.may_have(f"{stored.digest}.{stored.nonce}") == set()
    assert absent.may_have(f"{'ab' * 32}.n1") == set(), "no run names it"


def test_the_regions_of_one_run_are_found_without_a_search_among_all_blobs(
    tmp_path: Path, ledger: Ledger, lease: RunLedger
) -> None:
    edit(ledger, "ALTER TABLE blobs RENAME TO out_of_reach")
    absent = Absent(project(tmp_path), lease)
    assert absent.of_run(lease.run) == {"far", "farther"}
    assert absent.of_run("20260101-flow-0000") == set(), "the ledger doesn't have this run"


def test_what_was_erased_is_read_through_the_lease(tmp_path: Path, ledger: Ledger, lease: RunLedger) -> None:
    (gone,) = generations(blob("out"))
    digest, _, nonce = gone.partition(".")
    edit(ledger, "INSERT INTO erasures VALUES ('e1', 'rents', 'person', '', '', 0.0, 'me', 'she asked', '{}', NULL)")
    edit(ledger, f"INSERT INTO erased VALUES ('{digest}', '{nonce}', 'e1', 'a table')")
    absent = Absent(project(tmp_path / "elsewhere"), lease)  # whose own ledger is empty
    assert (absent.erased(gone) or "").startswith("a table was erased on ")
    assert absent.erased(f"{'ab' * 32}.n1") is None


@pytest.fixture(params=["a bucket", "a folder"])
def silent(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose store doesn't answer."""
    if request.param == "a folder":
        (tmp_path / "loop").symlink_to("loop")
        yield project(tmp_path, url=str(tmp_path / "loop"))
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    hurry()
    yield project(tmp_path, url="s3://bucket", endpoint="http://127.0.0.1:1", region="us-east-1")
    take_time()


def test_regions_of_other_settings_are_named_although_a_store_does_not_answer(
    silent: Project, lease: RunLedger
) -> None:
    (missing,) = generations(blob("out"))
    assert Absent(silent, lease).may_have(missing) == {"far", "farther"}
