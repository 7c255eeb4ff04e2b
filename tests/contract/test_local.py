"""The contract of backends, on the local one: in the open, and in a namespace without ledger and project folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from headrace.backends.local.namespace import works
from headrace.run.events import Succeeded
from headrace.testing.backend_contract import BackendContract, Ear, begin
from tests.contract.stands import RUN, LocalStand

NAMESPACES = pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")


class TestLocal(BackendContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path)


@NAMESPACES
class TestLocalInANamespace(BackendContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path, namespace=True)


@pytest.fixture
def stand(tmp_path: Path) -> LocalStand:
    return LocalStand(tmp_path)


@pytest.fixture
def ear(stand: LocalStand) -> Iterable[Ear]:
    ear = Ear(stand.backend())
    begin(ear, 1)
    yield ear
    ear.backend.close(now=True)


def do(stand: LocalStand, ear: Ear, *deeds: str) -> list[Succeeded]:
    ear.backend.tell(1, [stand.order(deed, f"{deed}{number}") for number, deed in enumerate(deeds)])
    return ear.wait_for(1, Succeeded, len(deeds))


def test_each_attempt_finds_a_clean_state(stand: LocalStand, ear: Ear) -> None:
    first, second = (stand.value(done) for done in do(stand, ear, "looks", "looks"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert second["files"] == []
    assert second["mark"] is None
    assert second["threads"] == "1"
    assert str(stand.store.root / "scratch") in second["here"]


def test_an_attempt_that_is_repeated_draws_the_same_numbers(stand: LocalStand, ear: Ear) -> None:
    first, second = (stand.value(done) for done in do(stand, ear, "draws", "draws"))
    assert first == second


def test_workers_have_their_code_from_the_bundle(stand: LocalStand, ear: Ear) -> None:
    [found] = (stand.value(done) for done in do(stand, ear, "looks"))
    assert isinstance(found, dict)
    assert found["module"].startswith(str(stand.store.root / "bundles"))


def test_what_an_attempt_prints_is_a_span_of_its_worker_s_log(stand: LocalStand, ear: Ear) -> None:
    quiet, loud, _ = do(stand, ear, "one", "prints", "one")
    assert quiet.log is None
    assert loud.log is not None
    log = (stand.store.root / "logs" / RUN / loud.log.log).read_bytes()[loud.log.start : loud.log.end]
    assert len(log) == 1_000_000
    assert set(log) == set(b"x\n")


def test_a_process_that_a_stage_leaves_behind_ends_with_the_run(stand: LocalStand, ear: Ear) -> None:
    [pid] = (stand.value(done) for done in do(stand, ear, "breeds"))
    assert isinstance(pid, int)
    ear.backend.close()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@NAMESPACES
@pytest.mark.parametrize("name", ["project/.headrace/ledger.db", "project/secret_of_the_project.txt"])
def test_in_a_namespace_workers_see_neither_ledger_nor_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HEADRACE_TEST_PATH", str(tmp_path / name))
    assert (tmp_path / name).exists() is False
    for namespace, sees in ((False, True), (True, False)):
        folder = tmp_path / f"namespace-{namespace}"
        stand = LocalStand(folder, namespace=namespace)
        monkeypatch.setenv("HEADRACE_TEST_PATH", str(folder / name))
        ear = Ear(stand.backend())
        begin(ear, 1)
        [text] = (stand.value(done) for done in do(stand, ear, "reads"))
        ear.backend.close(now=True)
        assert (text != "FileNotFoundError") is sees


@NAMESPACES
def test_in_a_namespace_workers_reach_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HEADRACE_TEST_PORT", str(server.getsockname()[1]))
        found = []
        for namespace in (False, True):
            stand = LocalStand(tmp_path / str(namespace), namespace=namespace)
            ear = Ear(stand.backend())
            begin(ear, 1)
            found += [stand.value(done) for done in do(stand, ear, "connects")]
            ear.backend.close(now=True)
    assert found[0] == "connected"
    assert found[1] != "connected"


def test_the_environment_of_the_driver_is_the_workers_own(stand: LocalStand, ear: Ear) -> None:
    assert "LEFT_BEHIND" not in os.environ
    do(stand, ear, "looks")
    assert "LEFT_BEHIND" not in os.environ
