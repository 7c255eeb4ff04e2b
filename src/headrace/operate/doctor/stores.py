"""Checks of the stores, including the backups' store: whether they can be read and written, how fast they are, and
whether their clocks are right."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from headrace.operate.doctor.finding import SKEW_S, Answer
from headrace.operate.upkeep.backup import check_place, open_backups
from headrace.project.project import STORE, Project
from headrace.project.state import ledger_is_shared, open_store, stores
from headrace.report.measures import bytes_text, seconds_text
from headrace.spec.fleet import HOME
from headrace.store.store import Store

TRIAL_BYTES = 1 << 20
FAR_BYTES = 8 << 20
"""The number of bytes that are sent to an object store and fetched again, to measure the bandwidth."""

SLOW_SYNC_S = 0.05
SLOW_BYTES_PER_S = 5e6


def store_checks(project: Project) -> dict[str, Callable[[], Answer]]:
    """Return the checks, by name: one for the store of each region and, if the settings name it, one for the backups'
    store."""
    found: dict[str, Callable[[], Answer]] = {
        "store" if region.name == HOME else f"store {region.name}": partial(_region, project, region.name)
        for region in project.regions()
    }
    if project.config.backup.url is not None:
        found["backup"] = partial(_backups, project)
    return found


def _region(project: Project, region: str) -> Answer:
    address = project.region(region).store
    state, found, slow = _look(open_store(project, region), far=address.is_remote)
    if ledger_is_shared(project) and address.url == str(project.home / STORE):
        hint = "others can't read what is made here: set `[store] url` to a place that all of them reach"
        found = f"{found}; the ledger is on a server, and this is a folder of this machine's own"
        return "doubtful", found, f"{hint}; {slow}" if slow else hint
    return state, found, slow


def _backups(project: Project) -> Answer:
    backups = open_backups(project)
    check_place(project, backups, stores(project).values())
    return _look(backups.store, far=project.backup().is_remote)


def _look(store: Store, *, far: bool) -> Answer:
    size = FAR_BYTES if far else TRIAL_BYTES
    wrote, read = _trial(store, os.urandom(size))
    offset = store.now() - time.time()
    where = f"{store.url}: " if far else ""
    found = f"{where}{bytes_text(size)} written in {seconds_text(wrote)}, read in {seconds_text(read)}"
    if abs(offset) > SKEW_S:
        clock = f"the store's clock differs from this machine's by {seconds_text(abs(offset))}"
        return "doubtful", f"{found}; {clock}", "set both clocks by NTP"
    if not far and wrote > SLOW_SYNC_S:
        return "doubtful", found, "the disk is slow to sync: every durable step waits for it"
    if far and size / max(wrote, read) < SLOW_BYTES_PER_S:
        return "doubtful", found, "the line to the store is slow: run where the data is, or give pools a nearer region"
    return "well", found, None


def _trial(store: Store, data: bytes) -> tuple[float, float]:
    """Write some bytes to a store, read them, and delete them. Return the seconds that writing and reading took."""
    start = time.perf_counter()
    blob = store.put(data)
    wrote = time.perf_counter()
    try:
        store.verify(blob.digest, blob.nonce)
    finally:
        store.delete(blob.digest, blob.nonce)
    return wrote - start, time.perf_counter() - wrote
