"""A test suite for backends whose workers are processes, to be used together with `BackendContract`.

class TestMine(BackendContract, WorkerContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> WorkerStand:
        return MyStand(tmp_path)
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from headrace.backends.processes.environment_variables import seen, told
from headrace.run.events import Checkpointed, Failed, Moved, Succeeded
from headrace.run.ports import Job
from headrace.run.wire import Whisper
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.spec.graph import Const, Secret
from headrace.spec.stage import Resources
from headrace.store.folder.folder import FolderStore
from headrace.testing.backend_contract import refusals
from headrace.testing.backend_listener import Ear
from headrace.testing.backend_setup import WorkerStand


class WorkerContract:
    """The test suite for workers that are processes.

    A subclass must define the fixture `stand`. `BackendContract` has the fixture `ear`.
    """

    @pytest.fixture
    def working(self, ear: Ear) -> Ear:
        """Return an `Ear` on a backend with one worker, whose number is 1."""
        ear.begin(1)
        return ear

    # -- the state that an attempt finds -------------------------------------------------------------------------

    def test_each_attempt_finds_its_folder_empty_and_the_environment_as_it_was(self, stand: Any, working: Ear) -> None:
        first, second = (stand.value(event.out) for event in do(stand, working, "look", "look"))
        assert first["files"] == second["files"] == []
        assert first["mark"] is second["mark"] is None
        assert first["home"] == second["home"]
        assert first["path"] == second["path"] == []

    def test_each_attempt_sees_the_variables_that_are_declared_and_no_others(
        self, stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CONTRACT_PASSWORD", "geheim")
        monkeypatch.setenv("DECLARED_SEED", "told where the driver is")
        names = (*stand.hello.variables, "DECLARED_*")
        stand.hello = replace(stand.hello, variables=names, told=told(os.environ, names))
        ear = Ear(stand.backend())
        ear.begin(1)
        [event] = do(stand, ear, "surroundings")
        ear.backend.close()
        found = stand.value(event.out)
        assert isinstance(found, dict)
        assert found["DECLARED_SEED"] == "told where the driver is"
        ours = {"HEADRACE_RUN", "HEADRACE_MARK", "HEADRACE_LOGGED", "DECLARED_SEED"}
        assert set(found) - set(seen(found)) - set(stand.hello.variables) == ours
        assert "PWD" not in found
        assert "PATH" in found

    def test_a_secret_reaches_the_worker_that_is_told_it_and_is_in_no_environment(
        self, stand: WorkerStand, working: Ear
    ) -> None:
        given = replace(stand.order("size", "reader"), args=(("data", Secret("CONTRACT_SECRET")),))
        working.tell(1, Whisper("CONTRACT_SECRET", "twelve signs"), given, stand.order("surroundings", "looker"))
        size, found = (stand.value(event.out) for event in working.wait_for(1, Succeeded, 2))
        assert size == 12
        assert isinstance(found, dict)
        assert "twelve signs" not in found.values()

    def test_each_attempt_may_use_as_many_threads_as_it_has_cpus(self, stand: Any, working: Ear) -> None:
        [event] = do(stand, working, "look")
        assert stand.value(event.out)["threads"] == "1"

    def test_chance_is_the_key_s(self, stand: Any, working: Ear) -> None:
        working.tell(1, stand.order("draw", "a"), stand.order("draw", "b"))
        working.tell(1, replace(stand.order("draw", "c"), key="11" * 32))
        first, second, third = (stand.value(event.out) for event in working.wait_for(1, Succeeded, 3))
        assert first == second != third

    # -- what a worker sees --------------------------------------------------------------------------------------

    def test_code_comes_from_the_bundle(self, stand: Any, working: Ear) -> None:
        [event] = do(stand, working, "look")
        assert Path(stand.value(event.out)["module"]).is_relative_to(stand.local)

    def test_modules_of_the_folder_where_the_driver_is_are_not_found(
        self, stand: WorkerStand, ear: Ear, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (stand.project / "stray_module.py").write_text("")
        monkeypatch.chdir(stand.project)
        ear.begin(1)
        ear.tell(
            1,
            stand.order("find", "stray", module="stray_module"),
            stand.order("find", "ours", module="contract_stages"),
        )
        stray, ours = (stand.value(event.out) for event in ear.wait_for(1, Succeeded, 2))
        assert (stray, ours) == (False, True)

    def test_it_sees_neither_ledger_nor_project(self, stand: WorkerStand, working: Ear) -> None:
        if not stand.hides:
            pytest.skip("this stand hides nothing from its workers")
        paths = [stand.home / "ledger.db", stand.project / "notes.txt", stand.store.local / "blobs"]
        assert all(path.exists() for path in paths)
        working.tell(1, *[stand.order("see", path.name, path=str(path)) for path in paths])
        assert [stand.value(event.out) for event in working.wait_for(1, Succeeded, 3)] == [False, False, True]

    def test_it_reaches_no_address(self, stand: WorkerStand, working: Ear) -> None:
        if not stand.isolated:
            pytest.skip("this stand leaves its workers the network")
        with socket.create_server(("127.0.0.1", 0)) as server:
            working.tell(1, stand.order("reach", "caller", port=server.getsockname()[1]))
            [event] = working.wait_for(1, Succeeded)
        assert stand.value(event.out) is False

    def test_an_input_that_is_gone_is_refused(self, stand: WorkerStand, working: Ear) -> None:
        gone = Ref(digest="ab" * 32, size=3, codec="bytes", type="builtins.bytes", nonce="0011")
        working.tell(1, replace(stand.order("size", "reader"), args=(("data", Const(gone)),)))
        [failed] = working.wait_for(1, Failed)
        assert failed.failure.kind == "refused"

    # -- transfers -----------------------------------------------------------------------------------------------

    def test_a_worker_brings_a_blob_from_another_store_under_the_names_that_it_has_there(
        self, stand: WorkerStand, working: Ear
    ) -> None:
        other = FolderStore(stand.other)
        blob = other.put(b"x" * 3_000_000)
        working.tell(1, stand.bring(blob.digest, blob.nonce, blob.size))
        [moved] = working.wait_for(1, Moved)
        assert (moved.task, moved.attempt, moved.size, moved.usd) == ("transfer", 1, 3_000_000, 0.5)
        stand.store.verify(blob.digest, blob.nonce)

    def test_a_blob_that_is_damaged_or_gone_where_it_lies_is_not_brought(
        self, stand: WorkerStand, working: Ear
    ) -> None:
        other = FolderStore(stand.other)
        blob = other.put(b"whole")
        path = other.path(blob.digest, blob.nonce)
        path.chmod(0o644)
        path.write_bytes(b"flaws")
        for nonce in (blob.nonce, "9999"):
            working.tell(1, stand.bring(blob.digest, nonce, blob.size))
        unseen = replace(stand.bring(blob.digest, blob.nonce, 5), source=StoreAddress(url="/no/such/store"))
        working.tell(1, unseen)
        damaged, gone, away = working.wait_for(1, Failed, 3)
        assert {each.failure.kind for each in (damaged, gone, away)} == {"refused"}
        assert "`/no/such/store` is a folder that machine" in away.failure.message
        assert not gone.failure.damaged
        assert damaged.failure.damaged == (f"{blob.digest}.{blob.nonce}",)
        assert stand.store.size(blob.digest, blob.nonce) is None

    def test_a_worker_whose_environment_can_t_be_had_never_begins_and_others_go_on(
        self, stand: WorkerStand, working: Ear
    ) -> None:
        working.backend.start([Job(worker=2, resources=Resources(), environment="old")])
        died = working.wait_for_death(2)
        assert (died.kind, died.why) == ("refused", "the project has no lock, and so no environment `old`")
        assert "`requirements-old.txt`" in str(died.hint)
        working.tell(1, stand.order("one", "next"))
        working.wait_for(1, Succeeded)

    def test_a_worker_or_tracer_whose_store_is_not_there_never_begins_and_says_where_and_why(
        self, stand: WorkerStand
    ) -> None:
        stand.hello = replace(stand.hello, store=StoreAddress(url="/no/such/store"))
        ear = Ear(stand.backend())
        ear.backend.start(
            [
                Job(worker=0, resources=Resources(), role="tracer"),
                Job(worker=1, resources=Resources()),
            ]
        )
        deaths = ear.wait_for_death(0), ear.wait_for_death(1)
        [refused] = refusals(ear)
        ear.backend.close(now=True)
        assert {died.kind for died in deaths} == {"refused"}
        assert refused.error == "StoreUnreachable"
        for message, hint in ((refused.message, refused.hint), *((died.why, died.hint) for died in deaths)):
            assert f"`{platform.node()}`" in message
            assert "`/no/such/store` is a folder that this machine doesn't see" in message
            assert "bucket" in str(hint)

    # -- output --------------------------------------------------------------------------------------------------

    def test_what_an_attempt_prints_is_a_span_of_its_log(self, stand: WorkerStand, working: Ear) -> None:
        working.tell(1, stand.order("one", "quiet"))
        for text in ("first", "second"):
            working.tell(1, stand.order("say", text, lines=2, text=text))
        quiet, *loud = working.wait_for(1, Succeeded, 3)
        assert quiet.log is None
        assert [printed(stand, event) for event in loud] == [b"first\nfirst\n", b"second\nsecond\n"]

    def test_what_a_failed_attempt_printed_ends_with_its_traceback(self, stand: WorkerStand, working: Ear) -> None:
        working.tell(1, stand.order("fail", "bad"))
        [failed] = working.wait_for(1, Failed)
        assert b"ValueError: x" in printed(stand, failed)

    def test_a_hundred_megabytes_of_output_are_kept(self, stand: WorkerStand, working: Ear) -> None:
        working.tell(1, stand.order("say", "loud", lines=1_000_000, text="x" * 99))
        [done] = working.wait_for(1, Succeeded)
        assert done.log is not None
        assert done.log.end - done.log.start == 100_000_000

    def test_an_attempt_that_closes_its_output_hurts_no_other(self, stand: WorkerStand, working: Ear) -> None:
        working.tell(1, stand.order("mute", "mute"), stand.order("say", "next", lines=1, text="heard"))
        _, spoken = working.wait_for(1, Succeeded, 2)
        assert printed(stand, spoken) == b"heard\n"

    # -- processes -----------------------------------------------------------------------------------------------

    def test_a_crash_says_what_it_was(self, stand: WorkerStand, working: Ear) -> None:
        working.tell(1, stand.order("crash", "bad"))
        died = working.wait_for_death(1)
        assert died.kind == "crash"
        assert "segmentation" in died.why

    def test_an_attempt_that_forks_and_returns_twice_is_reported_once(self, stand: WorkerStand, working: Ear) -> None:
        done = do(stand, working, "fork", "one", "fork", "one")
        assert [event.task for event in done] == ["fork0", "one1", "fork2", "one3"]

    def test_processes_that_an_attempt_began_end_with_its_worker(self, stand: WorkerStand, working: Ear) -> None:
        [event] = do(stand, working, "breed")
        began = stand.value(event.out)
        assert isinstance(began, list)
        working.until(lambda: all(map(lives, began)), "the stage's processes should have begun")
        working.backend.close([1])
        working.wait_for_death(1)
        working.until(lambda: not any(map(lives, began)), "the stage's processes should have ended")

    def test_processes_that_an_attempt_began_end_though_its_worker_was_killed_with_its_driver(
        self, stand: WorkerStand
    ) -> None:
        ear = Ear(stand.backend())
        ear.begin(1)
        ear.tell(1, stand.order("breed", "breeder"), stand.order("deaf", "stubborn"))
        ear.wait_for(1, Checkpointed)
        [event] = ear.events(1, Succeeded)
        began = stand.value(event.out)
        assert isinstance(began, list)
        ear.backend.abandon()
        after = Ear(stand.backend())
        after.adopt()
        after.backend.close([1], now=True)
        after.until(lambda: not any(map(lives, began)), "the stage's processes should have ended")
        after.backend.close()


def do(stand: WorkerStand, ear: Ear, *deeds: str) -> list[Succeeded]:
    """Make worker 1 run these stages one after another, and return the events of their success."""
    ear.tell(1, *[stand.order(deed, f"{deed}{place}") for place, deed in enumerate(deeds)])
    return ear.wait_for(1, Succeeded, len(deeds))


def printed(stand: WorkerStand, event: Succeeded | Failed) -> bytes:
    """Return the bytes that an attempt printed. `event` is the event that ended the attempt."""
    assert event.log is not None
    return stand.log(event.log.log)[event.log.start : event.log.end]


def lives(word: str) -> bool:
    """Return whether there is a living process with the last command-line argument `word`."""
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-1:] == [word]:
                return True
        except psutil.Error:
            continue
    return False
