"""Disturbances of what is kept: blobs that a later run would reuse, a collector that is always at work, clocks."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from typing import ClassVar

from tests.faults.rounds import Disturbance, Round, kill
from tests.projects import finish

COLLECTED = ("another collector", "the collector is at work")


class Damage(Disturbance):
    """An earlier run has left what this one would reuse, and a blob of it is damaged; the driver is killed, or not."""

    weight = 0.7
    remakes = throughout = True
    uses = frozenset({"reuse", "disk"})

    def ready(self, now: Round) -> None:
        now.run_before()
        for folder in now.place.caches():
            shutil.rmtree(folder, ignore_errors=True)  # as on another machine
        self.damage(now)

    def strike(self, now: Round) -> None:
        if now.driver is not None and now.rng.random() < 0.3:
            kill(now.driver.pid)

    def damage(self, now: Round) -> None:
        """Damage a blob."""


class BlobGone(Damage):
    """A blob that would be reused is gone."""

    name = "blob gone"

    def damage(self, now: Round) -> None:
        outs = now.outputs_before()
        name = now.rng.choice(sorted(each for each in now.place.things.blobs() if each in outs))
        now.place.things.write(name, None)


class BlobFlipped(Damage):
    """A blob that is reused, and read, has a bit that is another."""

    name = "blob flipped"

    def damage(self, now: Round) -> None:
        outs = now.outputs_before("parts")
        (name,) = [each for each in now.place.things.blobs() if each in outs]
        data = bytearray(now.place.things.read(name))
        data[now.rng.randrange(len(data))] ^= 1 << now.rng.randrange(8)
        now.place.things.write(name, bytes(data))


class Collecting(Disturbance):
    """The collector is at work throughout, forgets the run that this one reuses, and gives no more than seconds of
    grace; at some instant the driver is killed, or not."""

    name = "gc throughout"
    merges = throughout = True
    uses = frozenset({"reuse", "disk", "upkeep"})
    grace_s: ClassVar[float] = 5.0

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._found: list[str] = []
        self._thread: threading.Thread | None = None

    def ready(self, now: Round) -> None:
        now.run_before()
        self._thread = threading.Thread(target=self._collect, args=(now,), daemon=True)
        self._thread.start()

    def _collect(self, now: Round) -> None:
        while not self._ended.is_set():
            process = now.start_beside("gc", "--keep-runs", "1", GC_GRACE=str(self.grace_s))
            done = finish(process)
            busy = any(words in done.err for words in COLLECTED)
            if (done.code not in (0, -signal.SIGKILL) and not busy) or "Traceback" in done.err:
                self._found.append(f"`headrace gc` ended with {done.code}: {done.err}")

    def strike(self, now: Round) -> None:
        if now.driver is not None and now.rng.random() < 0.5:
            kill(now.driver.pid)

    def verdict(self, now: Round) -> Iterator[str]:
        self.clear(now)
        yield from self._found

    def clear(self, now: Round) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()


class Upkeep(Disturbance):
    """Checks, backups and exports are made throughout, beside the run."""

    name = "upkeep throughout"
    throughout = True
    uses = frozenset({"upkeep", "disk"})

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._found: list[str] = []
        self._thread: threading.Thread | None = None

    def ready(self, now: Round) -> None:
        self._thread = threading.Thread(target=self._keep_up, args=(now,), daemon=True)
        self._thread.start()

    def _keep_up(self, now: Round) -> None:
        aside = now.project.root.parent
        commands = (
            ["fsck"],
            ["backup", str(aside / "backups")],
            ["fsck", "--deep"],
            ["ledger", "export", "out.headrace"],
        )
        while not self._ended.is_set():
            for words in commands:
                (now.project.root / "out.headrace").unlink(missing_ok=True)
                done = finish(now.start_beside(*words))
                known = (*COLLECTED, "is at work", "can't be reached", "there is no ledger", "has no runs")
                is_known = done.code in (0, -signal.SIGKILL) or any(each in done.err for each in known)
                if "Traceback" in done.err or not is_known:
                    self._found.append(f"`headrace {words[0]}` ended with {done.code}: {done.out}{done.err}")

    def strike(self, now: Round) -> None:
        if now.driver is not None and now.rng.random() < 0.5:
            kill(now.driver.pid)

    def verdict(self, now: Round) -> Iterator[str]:
        self.clear(now)
        yield from self._found

    def clear(self, now: Round) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()


class Clocks(Disturbance):
    """Driver, workers and servers have clocks minutes apart, or a day, and so has the driver that comes after."""

    name = "clocks apart"
    throughout = True
    uses = frozenset({"clock"})

    def ready(self, now: Round) -> None:
        self._set(now)

    def _set(self, now: Round) -> None:
        now.project.environment["CLOCK_DRIVER"] = str(now.rng.choice([-86400, -300, 300, 86400]))
        now.project.environment["CLOCK_WORKER"] = str(now.rng.choice([-86400, -300, 0, 300, 86400]))

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        now.driver.kill()
        self._set(now)
