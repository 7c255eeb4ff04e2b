"""The prober: finds out from a task's key whether the task's output exists already, and if not, why the task has to
run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from headrace.plan.keys import key_of
from headrace.plan.pools import Fit, fit
from headrace.plan.reuse import NEW, Before, ChangedCode, ChangedGiven, barred, why_run, within_run
from headrace.run.driver.regions import Places, WhyGone
from headrace.run.driver.sites import Sites
from headrace.run.events import Deferred, Lacked, Placed, Reused
from headrace.run.machine.commands import Missed
from headrace.run.machine.machine import Machine
from headrace.run.machine.task import Task
from headrace.run.ports import AbsentRegions, Found, Ledger
from headrace.spec.artifact import Ref
from headrace.spec.graph import constants
from headrace.spec.stage import Stage


class _Key(NamedTuple):
    """A task's key, and the encoded inputs that the key is made from (`told`). `found` is the result that the ledger
    has under the key. It is None if the ledger has no result or wasn't asked."""

    key: str
    told: bytes
    found: Found | None = None


class Prober:
    """Answers the state machine's probes from the run itself, the ledger and the stores.

    `pins` maps stages to the pools that the settings choose for them. `absent_regions` is asked once about each run
    whose outputs are missing.
    """

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        sites: Sites,
        changed_code: ChangedCode,
        changed_given: ChangedGiven = lambda *_: (),
        pins: Mapping[str, str] | None = None,
        absent_regions: AbsentRegions | None = None,
    ) -> None:
        self._machine = machine
        self._ledger = ledger
        self._sites = sites
        self._pins = pins or {}
        self._why_gone = WhyGone(absent_regions)
        self._fits: dict[str, Fit] = {}
        self._changed_code = changed_code
        self._changed_given = changed_given
        self._barred: dict[tuple[str, bool], str | None] = {}
        self._foreseen: dict[str, _Key] = {}
        self._logged: set[str] = set()

    def forget(self) -> None:
        """Forget why outputs of stages may not be reused, and which pools may run which stages. Call this when a pool
        is gone, and when new code is traced: it may declare the stages in another way."""
        self._barred.clear()
        self._fits.clear()

    def foresee(self, names: Sequence[str]) -> None:
        """Look up, in one query, what the tasks in `names` may reuse: these tasks are probed next. One query is faster
        than many if the ledger and the store are far away."""
        keys = {name: self._key(name) for name in names}
        asked = {each.key for name, each in keys.items() if self._bar(self._machine.tasks[name]) is None}
        results = self._ledger.results(list(asked))
        self._places.look(each.out for each in results.values())
        for name, each in keys.items():
            self._foreseen[name] = each._replace(found=results.get(each.key))

    def foresees(self, name: str) -> bool:
        """Return whether `foresee` has already looked up what a task may reuse at its next probe."""
        return name in self._foreseen

    def probe(self, name: str) -> list[Reused | Placed | Missed | Lacked | Deferred]:
        """Decide about a task: reuse its output, run it, or wait for transfers. Return the events with this decision,
        in the order in which the state machine must process them.

        If the run uses several pools, the events say which of them may run the task. The task's inputs are looked for
        only after it is placed (see `locate`). If no pool that still answers may run the task, the task fails.
        """
        decision = self._find(name)
        if isinstance(decision, Reused):
            return [decision]
        if not self._sites.several:
            return [*self._transfers(decision, self._places)]
        found = self._fit(self._machine.tasks[name].stage)
        if not found.where:
            return [Placed(name, "", "", f"no pool that still answers may run it: {found.barred}")]
        located = not self._places.several
        return [structs.replace(decision, where=found.where, barred=found.barred, located=located)]

    def locate(self, name: str) -> list[Missed | Lacked | Deferred]:
        """Look for the inputs of a task that was placed in a pool. Return the events that make it wait for transfers,
        or `Missed` if all its inputs are there."""
        task = self._machine.tasks[name]
        missed = Missed(name, task.key or "", task.inputs or b"", task.reason, task.where, task.barred)
        return [*self._transfers(missed, self._sites.named(task.placed).places)]

    def _transfers(self, missed: Missed, places: Places) -> Sequence[Missed | Lacked | Deferred]:
        if not places.several:
            return (missed,)
        needed = [ref for _, arg in self._machine.inputs(missed.task) for ref in constants(arg)]
        if (kept := self._machine.outputs.checkpoints(missed.task, missed.key)) is not None:
            needed.append(kept.last)
        lacks = places.lacks(needed, self._machine.tasks)
        if not lacks:
            return (missed,)
        wanted = [lack for lack in lacks if self._machine.transfers.is_wanted(lack)]
        transfers = tuple([lack.task for lack in lacks])
        return (*wanted, Deferred(missed.task, missed.key, missed.inputs, missed.why, transfers))

    def has_logged(self, reused: Reused) -> bool:
        """Return whether a reused output comes from another run, and the task that made it there may have logged
        something."""
        return reused.key in self._logged

    def missing(self, ref: Ref) -> tuple[list[Lacked], tuple[str, ...]]:
        """Look for blobs of a value that aren't in the region in which the pipeline is traced. Return the transfers to
        start for them, and the names of all transfers to wait for."""
        lacks = self._places.lacks((ref,), self._machine.tasks)
        return [lack for lack in lacks if self._machine.transfers.is_wanted(lack)], tuple([lack.task for lack in lacks])

    @property
    def _places(self) -> Places:
        """The `Places` of the pool in which the pipeline is traced."""
        return self._sites.first.places

    def _fit(self, stage: Stage) -> Fit:
        found = self._fits.get(stage.function)
        if found is None:
            pools = [site.pool for site in self._sites.living]
            found = self._fits[stage.function] = fit(stage, pools, self._pins)
        return found

    def _find(self, name: str) -> Reused | Missed:
        machine = self._machine
        task = machine.tasks[name]
        foreseen = self._foreseen.pop(name, None)
        key, inputs, _ = foreseen or self._key(name)
        if (out := machine.outputs.kept.get((name, key))) is not None:
            maker = machine.outputs.makers.get(key)
            if maker:
                self._logged.add(key)  # what the maker logged is inherited again, if it logged something
            why = _unchanged_since(maker) if maker else "it succeeded earlier in this run"
            return Reused(name, key, out, maker or "", why, inputs)
        if within_run(task.stage) and not task.node.always and (out := machine.outputs.made.get(key)) is not None:
            return Reused(name, key, out, "", "another task of this run gave it, under the same key", inputs)
        bar = self._bar(task)
        if bar is not None:
            result = None
        elif foreseen is not None:
            result = foreseen.found
        else:
            result = self._ledger.results((key,)).get(key)
        if result is None:
            return Missed(name, key, inputs, bar or self._why_run(name, key, inputs))
        if not self._places.holds(result.out):
            return Missed(name, key, inputs, self._why_gone(result.run, result.out))
        if result.has_logged:
            self._logged.add(key)
        return Reused(name, key, result.out, result.run, _unchanged_since(result.run), inputs)

    def _key(self, name: str) -> _Key:
        machine = self._machine
        key, inputs = key_of(machine.tasks[name].stage, machine.inputs(name), machine.platform)
        return _Key(key, inputs)

    def _bar(self, task: Task) -> str | None:
        place = task.stage.function, task.node.always
        if place not in self._barred:
            self._barred[place] = barred(task.stage, self._machine.policy, always=task.node.always)
        return self._barred[place]

    def _why_run(self, name: str, key: str, inputs: bytes) -> str:
        before = self._machine.past.get(name) or self._before(name)
        if before is None:
            return NEW
        node, stage = self._machine.tasks[name].node, self._machine.tasks[name].stage
        parts = self._changed_code(before, node, stage) if before.code != stage.code.digest else ()
        return why_run(stage, key, inputs, before, parts, lambda change: self._changed_given(before, node, change))

    def _before(self, name: str) -> Before | None:
        earlier = self._ledger.earlier(name)
        return None if earlier is None else Before(earlier.run, earlier.key, earlier.code, earlier.inputs)


def _unchanged_since(run: str) -> str:
    return f"nothing that determines it has changed since run {run}"
