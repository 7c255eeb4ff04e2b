"""Upkeep of a project's state: delete what no run needs, and check that nothing is missing or damaged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from pathlib import Path

from headrace.backends.processes.orphans import end_leftovers
from headrace.errors import ConfigError, LedgerDamaged, StoreError, sentence
from headrace.ledger import records
from headrace.ledger.ledger import Ledger
from headrace.ledger.upkeep.fsck import Checked, Checker, Problem, damaged
from headrace.ledger.upkeep.garbage import Collected
from headrace.ledger.upkeep.gc import Collector
from headrace.ledger.upkeep.in_progress import CLOCKS_S
from headrace.ledger.upkeep.replay import Replayed, replay
from headrace.ledger.upkeep.retention import Keep
from headrace.operate.upkeep.prediction_logs import LogRules
from headrace.project.project import LEDGER, STORE, Project
from headrace.project.state import ledger_is_shared, ledger_path, open_ledger, stores, views
from headrace.spec.duration import seconds
from headrace.store.store import Store
from headrace.work.archive import clear

__all__ = ["Checked", "Collected", "Keep", "Problem", "Replayed", "check", "collect", "kept", "replayed"]

FOLDERS = ("logs", "scratch", "workers")
"""The local folders of a store in which each run has a subfolder. The store's blobs and spool are in other folders."""
YOUNG_S = 3600.0


def collect(project: Project, keep: Keep, *, dry_run: bool, say: Callable[[str], None] = lambda _: None) -> Collected:
    """Delete blobs that no run names, and return what was deleted.

    If `keep` has rules, the runs that no rule keeps are deleted first, with their printed output. Predictions that are
    older than their endpoint's setting `keep` are deleted too, and so is unpacked code of runs that are gone. With
    `dry_run`, nothing is deleted. `say` is called with a message if unpacked code can't be deleted.

    Raises:
        LedgerError: another collector is running.
        ConfigError: the store belongs to another ledger.
    """
    _check_owner(project)
    found_stores = stores(project)
    with open_ledger(project) as ledger, Collector(ledger, found_stores) as collector:
        collected = collector.collect(keep, logs=LogRules(project), now=ledger.now(), dry_run=dry_run)
        for store in found_stores.values() if not dry_run else ():
            _clear(ledger, store, frozenset(collected.runs))
            try:
                _clear_bundles(ledger, store, [held.since for held in collected.held])
            except (OSError, StoreError) as error:  # another user's folder, say
                say(f"unpacked code in `{store.local}` can't be deleted: {sentence(error)}")
    return collected


def _check_owner(project: Project) -> None:
    """Raise an error if the store belongs to another ledger, because a collection would delete that ledger's blobs.

    The store in the state folder belongs to the ledger file beside it.

    Raises:
        ConfigError: the settings name another ledger, and there is a ledger file beside the store.
    """
    beside, store = project.home / LEDGER, project.home / STORE
    is_same = not ledger_is_shared(project) and ledger_path(project) == beside
    if project.region().store.url == str(store) and not is_same and beside.exists():
        raise ConfigError(
            f"the store `{store}` belongs to the ledger `{beside}`, but the settings name another ledger",
            hint="set `[store] url` as well as `[ledger] url`, so that each ledger has its own store; if"
            f" `{beside}` is no longer needed, because the ledger in the settings has replaced it, move this file away",
        )


def kept(
    project: Project, *, runs: int | None, per_pipeline: int | None, keep_s: float | None, everything: bool
) -> Keep:
    """Return the rules by which runs are kept: the command's rules or, if it has none, those of the settings.

    `runs` is how many ended runs are kept, and `per_pipeline` how many of each pipeline. `keep_s` is how many seconds a
    run is kept after its end. None means that there is no such rule. With `everything`, all runs are kept.
    """
    if everything:
        return Keep()
    if runs is None and per_pipeline is None and keep_s is None:
        section = project.config.gc
        return Keep(
            runs=section.keep_runs,
            per_pipeline=section.keep_runs_per_pipeline,
            seconds=None if section.keep is None else seconds(section.keep, name="keep"),
        )
    return Keep(runs=runs, per_pipeline=per_pipeline, seconds=keep_s)


def _clear(ledger: Ledger, store: Store, forgotten: Set[str]) -> None:
    """Delete the local folders of forgotten runs, of runs that never began because their driver was killed, and of runs
    that have ended and don't need them. If processes of these runs are still alive, end them: a suspended process
    (SIGSTOP) doesn't end by itself. Also delete the logs of forgotten runs."""
    for folder in FOLDERS:
        for path in _folders(store.local / folder):
            if path.name in forgotten or _is_unused(ledger, path):
                if folder == "workers":
                    for notes in _folders(path):
                        end_leftovers(notes, patience_s=0.0)
                shutil.rmtree(path, ignore_errors=True)
    for run in forgotten:
        store.logs.forget(run)


def _clear_bundles(ledger: Ledger, store: Store, began: Sequence[float]) -> None:
    """Delete the unpacked bundles on this machine that no run in the ledger has. Those that were used within the last
    hour are kept, and so are those that were used since the first time in `began`: these are the times when runs began
    that may have no row yet."""
    with closing(ledger.connect()) as db, db.troubles():
        needed = {run.bundle for run in records.runs(db)}
    now = time.time()
    clear(store.local, needed, min([now - YOUNG_S, *(since - CLOCKS_S for since in began)]))


def _is_unused(ledger: Ledger, path: Path) -> bool:
    try:
        is_old = time.time() - path.stat().st_mtime > YOUNG_S
    except FileNotFoundError:
        return False  # its run has ended meanwhile and deleted it
    is_useless = not ledger.has(path.name) if path.parent.name == "logs" else ledger.is_over(path.name)
    return is_old and is_useless and ledger.holder(path.name) is None


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def check(project: Project, *, deep: bool, repair: bool) -> Checked:
    """Check the ledger and the stores, and return the problems.

    With `deep`, every blob is read and every run is replayed. With `repair`, what can be repaired is repaired.

    Raises:
        LedgerError: the collector is running.
    """
    try:
        with open_ledger(project) as ledger:
            return Checker(ledger, stores(project)).check(deep=deep, repair=repair, now=time.time())
    except LedgerDamaged as error:  # it can't be opened, or a check met the damage
        if ledger_is_shared(project):
            raise  # a server's tables aren't in a file here
        return damaged(ledger_path(project), error, is_deep=deep)


def replayed(project: Project, run: str | None, *, repair: bool) -> Replayed:
    """Rebuild a run from its events, and return where its rows differ. With `repair`, rewrite the rows that differ.

    Raises:
        NotFoundError: there is no such run.
    """
    with views(project) as found:
        run_id = found.find(run).run
    with open_ledger(project) as ledger:
        return replay(ledger, run_id, repair=repair)
