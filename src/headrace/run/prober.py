"""The prober: whether a task's output is there already, by its key, and if not, why it has to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.plan.keys import key_of
from headrace.plan.reuse import Before, barred, why_run, within_run
from headrace.run.events import Reused
from headrace.run.machine import Machine, Missed
from headrace.run.ports import Blobs, Ledger
from headrace.spec.artifact import Ref, blobs
from headrace.spec.stage import Stage

ChangedCode = Callable[[str, Stage], Sequence[str]]
"""Names the parts of a stage's code that differ from what they were in an earlier run."""


class Prober:
    """Answers the machine's probes from the run itself, the ledger and the store."""

    def __init__(self, machine: Machine, ledger: Ledger, store: Blobs, changed_code: ChangedCode) -> None:
        self._machine = machine
        self._ledger = ledger
        self._store = store
        self._changed_code = changed_code
        self._barred: dict[str, str | None] = {}

    def forget(self) -> None:
        """The stages are declared anew."""
        self._barred.clear()

    def probe(self, name: str) -> Reused | Missed:
        """Decide about one task whose inputs are known."""
        machine = self._machine
        stage = machine.tasks[name].stage
        platform = machine.bundle.platform if machine.bundle else None
        key, told = key_of(stage, machine.inputs(name), platform)
        if (out := machine.kept.get((name, key))) is not None:
            return Reused(name, key, out, "", "it had succeeded in this run", told)
        if within_run(stage) and (out := machine.made.get(key)) is not None:
            return Reused(name, key, out, "", "another task of this run gave it, under the same key", told)
        bar = self._bar(stage)
        found = self._ledger.result(key) if bar is None else None
        if found is None:
            return Missed(name, key, told, bar or self._why_run(name, key, told))
        if not self._is_there(found.out):
            return Missed(name, key, told, f"its output of run {found.run} is gone from the store")
        why = f"nothing that determines it has changed since run {found.run}"
        return Reused(name, key, found.out, found.run, why, told)

    def _bar(self, stage: Stage) -> str | None:
        if stage.function not in self._barred:
            self._barred[stage.function] = barred(stage, self._machine.policy)
        return self._barred[stage.function]

    def _why_run(self, name: str, key: str, told: bytes) -> str:
        earlier = self._ledger.earlier(name)
        if earlier is None:
            return "no earlier result"
        stage = self._machine.tasks[name].stage
        parts = self._changed_code(earlier.run, stage) if earlier.code != stage.code.digest else ()
        return why_run(stage, key, told, Before(earlier.run, earlier.key, earlier.code, earlier.inputs), parts)

    def _is_there(self, out: Ref) -> bool:
        return all(self._store.size(ref.digest, ref.nonce or "") == ref.size for ref in blobs(out))
