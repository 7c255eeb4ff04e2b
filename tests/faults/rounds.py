"""One round: a run that is disturbed, healed, taken up until it succeeds, and checked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from tests.faults.checker import Evidence, begins, begun, check, leftovers, outputs
from tests.faults.grounds import Ground, Place, World
from tests.faults.reading import rows_of
from tests.faults.witness import Witness
from tests.projects import Done, finish, wait_for

LINES = 40
"""So many lines the stages of an undisturbed run note, but for the last few."""
TRIES = 10
WORDS = 1500
"""As much is told of what a command said."""
CLUSTER_S = 20.0
"""How long what a run had on a cluster may take to end after it."""
LEAVE_S = 90.0
"""After this time workers leave whose driver was killed before its run was in the ledger."""
GRACE_S = 3600.0
"""After this time the collector deletes what nobody has come back for."""
LEASE_S = 60.0
"""How long a dead driver's lease may take to expire."""
PATIENCE_S = 120.0
STALL_S = 240.0
"""A command of which nothing moves for so long, no event and no stage, hangs: each wait of it has an end before."""
HURRY_S = 15.0
"""How long a command may take after a second ^C, whatever peer says nothing."""
OUT_OF_REACH = ("can't be reached", "the cluster at")
CODES = {
    0: "succeeded",
    1: "a task failed",
    3: "cancelled",
    5: "a fault outside",
    -signal.SIGKILL: "killed",
    -signal.SIGTERM: "ended",
}


class Disturbance:
    """What goes wrong in a round: `strike` at a random instant, `heal` some time after.

    `ready` prepares the place before anything runs; `verdict` gives what is wrong by rules of its own. A disturbance
    that `remakes` damages outputs, so that what made them may run again; one that goes on `throughout` never comes too
    late. One that `stops` processes for ever may leave some of a run that never had a row, until the collector comes
    by. Two that have something in common of what they `use` don't go together in a round.
    """

    name: ClassVar[str]
    weight: ClassVar[float] = 1.0
    remakes: ClassVar[bool] = False
    merges: ClassVar[bool] = False
    throughout: ClassVar[bool] = False
    stops: ClassVar[bool] = False
    uses: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        """Whether there is such a thing on a ground."""
        return True

    def ready(self, now: Round) -> None:
        """Prepare the place."""

    def strike(self, now: Round) -> None:
        """Disturb."""

    def heal(self, now: Round) -> None:
        """Put right what was disturbed; also where the round failed, and more than once."""

    def verdict(self, now: Round) -> Iterator[str]:
        """Return what else is wrong."""
        return iter(())

    def clear(self, now: Round) -> None:
        """Take down what was prepared."""


@dataclass
class Outcome:
    """How a round went: what is wrong, whether the disturbance met a living driver, how many commands it took."""

    seed: str
    ground: Ground
    name: str
    seconds: float = 0.0
    hit: bool = False
    commands: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "FAILED" if self.problems else "ok" if self.hit else "ok, came too late"
        words = f"{self.seed:>10}  {self.ground!s:<18} {self.name:<16} {self.seconds:5.1f} s  {verdict}"
        return "\n".join([f"{words}  ({', '.join(self.commands)})", *(f"    {each}" for each in self.problems)])


class Round:
    """A round by its seed, which draws all that is left to chance in it."""

    def __init__(self, world: World, place: Place, disturbances: Sequence[Disturbance], seed: str) -> None:
        self.world = world
        self.place = place
        self.project = place.project
        self.rng = random.Random(seed)
        self.outcome = Outcome(seed, place.ground, " + ".join(each.name for each in disturbances))
        self.driver: subprocess.Popen[str] | None = None
        self._begun = 0
        self.scale = 1
        self.told: set[str] = set()
        self._disturbances = disturbances
        self._rest = list(disturbances)
        self._seen: Witness | None = None
        self.hurries = self.rng.random() < 0.8
        self._began = time.monotonic()

    def play(self) -> Outcome:
        """Play it to its end."""
        for step in (self._play, self._heal, self.project.kill_all, self._clear):
            try:
                step()
            except Exception as error:  # noqa: BLE001  whatever goes wrong is the round's finding
                self.outcome.problems.append(f"{type(error).__name__}: {error}"[:WORDS])
        self.outcome.problems = list(dict.fromkeys(self.outcome.problems))
        self.outcome.seconds = time.monotonic() - self._began
        return self.outcome

    def _heal(self) -> None:
        for each in self._disturbances:
            each.heal(self)

    def _clear(self) -> None:
        for each in reversed(self._disturbances):
            each.clear(self)

    def _play(self) -> None:
        assert self.world.values, "made once, before all"
        project = self.project
        namespace = self.rng.choice(["auto", "off"])
        for pool in self.place.ground.sections:
            project.environment[f"HEADRACE__POOL__{pool.upper()}__NAMESPACE"] = namespace
        for each in self._disturbances:
            each.ready(self)
        with Witness(self.place.ledger) as witness:
            self._seen = witness
            self.note(*self._command("run", "flow", "--scale", str(self.scale)))
            run = self.go_on()
            time.sleep(0.05)
        for each in self._disturbances:
            self.outcome.problems += each.verdict(self)
        stops = any(each.stops for each in self._disturbances)
        if not stops:
            project.check_no_process_is_left()
        if self.place.ground.backend == "ray":
            self._check_cluster(run)
        self._check(run, witness, merged=any(each.merges for each in self._disturbances))
        self._collect()
        if stops:
            project.check_no_process_is_left()
        self._check(run, witness, merged=True)
        with rows_of(self.place.ledger) as rows:
            self.outcome.problems += leftovers(rows, self.place.things, self.place.local)

    def _check(self, run: str, witness: Witness, *, merged: bool) -> None:
        with rows_of(self.place.ledger) as rows:
            ((number,),) = rows.query("select number from runs where id = ?", run)
            evidence = Evidence(
                run=run,
                seen=witness.seen[number],
                noted=self.noted(),
                told=frozenset(self.told),
                values=self.world.values[self.scale],
                merged=merged,
                remade=any(each.remakes for each in self._disturbances),
            )
            self.outcome.problems += check(rows, self.place.things, evidence)
            moves = rows.query("select version from cursors where name = 'seen' and run = ?", run)
            if len(moves) != 1 and not evidence.remade:
                self.outcome.problems.append(f"the run has advanced its cursor {len(moves)} times: {moves}")

    def _command(self, *words: str) -> tuple[subprocess.Popen[str], Done]:
        """Return a command that drives the run, disturb it as long as that is left to do, and wait for its end."""
        self._begun = self.begins()
        self.driver = process = self.start(*words)
        while self._rest:
            each = self._rest.pop(0)
            self._wait_for_moment()
            self.outcome.hit = self.outcome.hit or each.throughout or process.poll() is None
            each.strike(self)
            time.sleep(self.rng.choice([0.0, self.rng.uniform(0, 0.6)]))
            each.heal(self)
            if self.rng.random() < 0.5:
                break  # the next command has the rest
        return process, self.end_of(process)

    def end_of(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a command's end, for as long as something moves."""
        moved, since = None, time.monotonic()
        while True:
            try:
                out, err = process.communicate(timeout=1.0)
                return Done(process.returncode, out or "", err or "")
            except subprocess.TimeoutExpired:
                seen = self._seen.seen if self._seen is not None else {}
                now = self.lines(), sum(map(len, list(seen.values())))
                if now != moved:
                    moved, since = now, time.monotonic()
                if time.monotonic() - since > STALL_S:
                    process.kill()
                    raise AssertionError(f"nothing has moved for {STALL_S:g} s: {process.args}") from None

    def _check_cluster(self, run: str) -> None:
        """Check that nothing of the run is left on the cluster, and nothing of those before that were never opened."""
        wait_for(lambda: not remains(self.world, run), CLUSTER_S, lambda: f"on the cluster: {remains(self.world, run)}")
        now, left = time.monotonic(), remains(self.world)
        late = [each for each in left if now - self.world.suspects.setdefault(each, now) > LEAVE_S]
        self.outcome.problems += [f"still on the cluster, of a run that was never opened: {each}" for each in late]

    def run_before(self) -> None:
        """Run the pipeline undisturbed, so that the run of this round, whose last task differs, reuses the rest."""
        done = self.project.headrace("run", "flow")
        assert done.code == 0, done
        self.scale = 2
        self.place.journal.write_bytes(b"")

    def outputs_before(self, task: str = "") -> set[str]:
        """Return the blobs of the outputs that an earlier run has made, or of one task's."""
        with rows_of(self.place.ledger) as rows:
            return outputs(rows, task)

    def _collect(self) -> None:
        """Let the grace time pass, and collect: leases of drivers that were killed before their run had a row, which
        nobody took up, ran out so long ago, too."""
        self.expire("%", GRACE_S)
        done = finish(self.start("gc", CLOCK_DRIVER=str(GRACE_S + 60), GC_GRACE="-60"))
        if done.code:
            self.outcome.problems.append(f"`headrace gc` ended with {done.code}: {done.err}")

    def _wait_for_moment(self) -> None:
        """Wait for the instant: after so many lines that stages have noted, or so much time."""
        lines, pause_s = self.rng.randrange(LINES), self.rng.random()
        if self.scale > 1:  # an earlier run has left most of it
            lines, pause_s = lines % 2, pause_s * 0.4
        if self.rng.random() < 0.7:
            wait_for(lambda: self.lines() >= lines or self._has_ended(), PATIENCE_S)
            pause_s *= 0.05
        time.sleep(pause_s)  # the instant is the point

    def _has_ended(self) -> bool:
        return self.driver is not None and self.driver.poll() is not None

    def start(self, *words: str, **also: str) -> subprocess.Popen[str]:
        """Begin a command, with more in its environment than others have."""
        return self.project.start(*words, also=also)

    def start_beside(self, *words: str, **also: str) -> subprocess.Popen[str]:
        """Begin a command beside those that drive the run, which a server knows by a name of its own."""
        url = self.project.environment.get("HEADRACE__LEDGER__URL", "")
        if "application_name=" in url:
            also["HEADRACE__LEDGER__URL"] = f"{self.place.ledger}?application_name=beside"
        return self.start(*words, **also)

    def note(self, process: subprocess.Popen[str], done: Done) -> None:
        """Note how a command ended, and what it said; one that ended as it must not is a finding."""
        words = process.args[1] if isinstance(process.args, list) else "?"
        self.outcome.commands.append(f"{words} {done.code} after {time.monotonic() - self._began:.1f} s")
        for line in done.err.splitlines():
            state, _, rest = line.partition(" ")
            if state == "succeeded" and not rest.startswith("transfer["):  # these succeed by another event
                self.told.add(rest.split()[0])
        is_early = done.code == 1 and done.err.startswith("Fatal Python error: init_")
        is_early |= done.code == -signal.SIGINT and not done.err
        if done.code == 2 or is_early:
            said = begun(words, 2, self._begun, self.begins())
            self.outcome.problems += [f"{each}: {done.err}"[-WORDS:] for each in said]
        if is_early:
            return  # ^C came before Python had begun, and nothing of ours was there to hear it
        if done.code == 2 and any(words in done.err for words in OUT_OF_REACH) and "hint: " in done.err:
            return  # said before anything was begun
        if done.code not in CODES or "Traceback" in done.err or (done.code == 5 and "\nhint: " not in done.err):
            self.outcome.problems.append(f"`headrace {words}` ended with {done.code}: {done.out}{done.err}"[-WORDS:])

    def go_on(self) -> str:
        """Resume the run until it has succeeded, or run again where none was begun; return its id."""
        end = time.monotonic() + LEASE_S
        for _ in range(TRIES):
            run, state = self.newest()
            if state == "succeeded":
                return run
            if run and self.hurries:
                self.expire(run)
            words = ("resume", run, *self._elsewhere()) if run else ("run", "flow", "--scale", str(self.scale))
            process, done = self._command(*words)
            while done.code == 2 and "is held by" in done.err and time.monotonic() < end:
                time.sleep(0.1)
                process, done = self._command(*words)
            self.note(process, done)
            if done.code == 2 and not any(words in done.err for words in OUT_OF_REACH):
                break
        run, state = self.newest()
        if state != "succeeded":
            raise AssertionError(f"it was {state} after {TRIES} tries; the last said: {done.err[-WORDS:]}")
        return run

    def _elsewhere(self) -> tuple[str, ...]:
        """Now and then go on in other pools."""
        if not self.place.ground.pools or self.rng.random() < 0.5:
            return ()
        return "--pool", self.rng.choice(["near", "far", "far,near"])

    def expire(self, run: str, ago_s: float = 1.0) -> None:
        """Let the time of a lease on a server pass: of one whose holder is dead, or as good as that. A holder that was
        stopped within a transaction has its row locked: there the time passes by itself."""
        if self.place.ground.ledger == "postgres":
            name = self.place.ledger.rpartition("/")[2]
            free = f"select name from leases where name like '{run}' for update skip locked"
            past = f"clock_timestamp() - interval '{ago_s} s'"
            text = f"update leases set expires = {past} where name in ({free})"
            self.world.postgres.query(text, name)

    def begins(self) -> int:
        """Count how often a driver has begun with the run of this round."""
        run, _ = self.newest()
        if not run:
            return 0
        with rows_of(self.place.ledger) as rows:
            return begins(rows, run)

    def newest(self) -> tuple[str, str]:
        """Return the run of this round and its state; nothing, where none has been begun."""
        path = self.place.ledger.removeprefix("sqlite:///")
        if path != self.place.ledger and not Path(path).exists():
            return "", ""
        with rows_of(self.place.ledger) as rows:
            if not self._has_tables(path == self.place.ledger, rows):
                return "", ""
            found: list[tuple[str, str, str]] = rows.query("select id, state, params from runs order by number desc")
        mine = [(run, state) for run, state, params in found if f'"{self.scale}"' in params]
        return mine[0] if mine else ("", "")

    def _has_tables(self, is_postgres: bool, rows: object) -> bool:
        text = (
            "select 1 from pg_tables where tablename = 'runs'"
            if is_postgres
            else ("select 1 from sqlite_master where name = 'runs'")
        )
        return bool(rows.query(text))  # type: ignore[attr-defined]

    def lines(self) -> int:
        """Count what stages have noted."""
        return len(self.place.journal.read_bytes().splitlines())

    def noted(self) -> Sequence[tuple[str, str, int]]:
        """Return what stages have noted."""
        lines = [line.split() for line in self.place.journal.read_text().splitlines()]
        return [(what, task, int(attempt)) for what, task, attempt, _ in lines]

    def processes(self) -> list[tuple[int, str]]:
        """Return the processes of the round that live: number and words."""
        found = [each.partition(" ") for each in self.project.processes()]
        return [(int(pid), words) for pid, _, words in found]


def remains(world: World, run: str = "") -> list[str]:
    """Name the processes on the world's clusters that belong to a run, or to any."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            of = environment.get("HEADRACE_RUN", "")
            is_ours = environment.get("JOURNAL") == str(world.journal)  # others may have clusters here
            if of and is_ours and run in ("", of) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} of {of}, since {process.create_time():.0f}")
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
