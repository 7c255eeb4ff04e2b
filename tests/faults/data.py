"""Disturbances of what is kept: blobs that a later run would reuse, a collector that is always at work, clocks."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from typing import ClassVar

from tests.faults.rounds import Disturbance, Round, kill
from tests.projects import Done, finish

COLLECTED = ("another collector", "the collector is at work")
KNOWN = (*COLLECTED, "is at work", "can't be reached", "there is no ledger", "has no runs")
EXPORTED = "out.headrace"


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


class Beside(Disturbance):
    """Commands are at work throughout, beside the run; at some instant the driver is killed, or not."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._found: list[str] = []
        self._thread: threading.Thread | None = None

    def ready(self, now: Round) -> None:
        self._thread = threading.Thread(target=self._go_on, args=(now,), daemon=True)
        self._thread.start()

    def _go_on(self, now: Round) -> None:
        while not self._ended.is_set():
            try:
                self.turn(now)
            except AssertionError as error:  # a command that doesn't end
                self._found.append(str(error))
                return

    def turn(self, now: Round) -> None:
        """Run the commands once."""

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

    def complain(self, words: str, done: Done) -> None:
        """Keep how a command ended that should not have ended so."""
        self._found.append(f"`headrace {words}` ended with {done.code}: {done.out}{done.err}")


class Collecting(Beside):
    """The collector is at work throughout, forgets the run that this one reuses, and gives no more than seconds of
    grace; at some instant the driver is killed, or not."""

    name = "gc throughout"
    merges = throughout = True
    uses = frozenset({"reuse", "disk", "upkeep"})
    grace_s: ClassVar[float] = 5.0

    def ready(self, now: Round) -> None:
        now.run_before()
        super().ready(now)

    def turn(self, now: Round) -> None:
        done = finish(now.start_beside("gc", "--keep-runs", "1", GC_GRACE=str(self.grace_s)))
        busy = any(words in done.err for words in COLLECTED)
        if (done.code not in (0, -signal.SIGKILL) and not busy) or "Traceback" in done.err:
            self.complain("gc", done)


class Upkeep(Beside):
    """Checks, backups and exports are made throughout, beside the run."""

    name = "upkeep throughout"
    throughout = True
    uses = frozenset({"upkeep", "disk"})

    def turn(self, now: Round) -> None:
        aside = now.project.root.parent
        for words in (["fsck"], ["backup", str(aside / "backups")], ["fsck", "--deep"], ["ledger", "export", EXPORTED]):
            (now.project.root / EXPORTED).unlink(missing_ok=True)
            done = finish(now.start_beside(*words))
            is_known = done.code in (0, -signal.SIGKILL) or any(each in done.err for each in KNOWN)
            if "Traceback" in done.err or not is_known:
                self.complain(words[0], done)


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
