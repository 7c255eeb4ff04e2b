"""The regions of a run: those of its pools, and the others."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from headrace.errors import StoreError
from headrace.ledger.run_ledger import RunLedger
from headrace.project.project import Project
from headrace.project.state import absent_regions, open_store, reading_store
from headrace.run.driver.regions import Elsewhere
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.store.store import Store


def elsewhere(project: Project, pool: Pool) -> list[Elsewhere]:
    """Return all regions except the pool's own. Blobs of their stores can be transferred to the pool's region."""
    here = project.region(pool.region)
    return [
        Elsewhere(region.name, open_store(project, region.name), region.store, project.link(region.name, here.name))
        for region in project.regions()
        if region.store != here.store
    ]


def bring_bundle(project: Project, bundle: Bundle, store: Store) -> None:
    """Copy a run's bundle to `store`, the store of the region where the run continues, if the bundle isn't there yet.

    Raises:
        BlobMissing: no region's store has the bundle.
    """
    if store.size(bundle.digest, bundle.nonce) is not None:
        return
    with reading_store(project).reader(bundle.digest, bundle.nonce) as file, store.batch() as batch:
        batch.replicate(bundle.digest, bundle.nonce, file)


class Absent:
    """The regions that runs of the ledger have used and that aren't in the settings (implements
    `run.ports.AbsentRegions`)."""

    def __init__(self, project: Project, lease: RunLedger) -> None:
        self._project = project
        self._lease = lease

    def may_have(self, generation: str) -> set[str]:
        """Return the absent regions that may have a generation (`DIGEST.NONCE`). Return none if a store of the settings
        has the generation."""
        absent = absent_regions(self._project, self._lease.regions(generation))
        if absent:
            # a store that doesn't answer may have it, or not: the other regions are named
            with suppress(OSError, StoreError):
                if reading_store(self._project).size(*generation.split(".")) is not None:
                    return set()
        return absent

    def of_run(self, run: str) -> set[str]:
        """Return the absent regions in which attempts of a run were started."""
        return absent_regions(self._project, self._lease.regions(run=run))

    def erased(self, generation: str) -> str | None:
        """If a generation was erased together with a person's data, return what it was, and when and why it was erased.
        Otherwise return None."""
        found = self._lease.erasure_of(generation)
        if found is None:
            return None
        what, erasure = found
        return f"{what} was erased on {datetime.fromtimestamp(erasure.at).astimezone():%Y-%m-%d}: {erasure.why}"
