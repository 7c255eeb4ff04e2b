"""The regions of a run: those of its pools, and the others."""

from __future__ import annotations

from contextlib import suppress

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
    """Copy a run's bundle to `store`, the store of the region where the run goes on, unless it is there already.

    Raises:
        BlobMissing: no region's store has the bundle.
    """
    if store.size(bundle.digest, bundle.nonce) is not None:
        return
    with reading_store(project).reader(bundle.digest, bundle.nonce) as file, store.batch() as batch:
        batch.replicate(bundle.digest, bundle.nonce, file)


def may_have(project: Project, lease: RunLedger, generation: str) -> set[str]:
    """Return the regions that may have a generation (`DIGEST.NONCE`) but aren't in the settings. If a store of the
    settings has the generation, return none."""
    found = absent_regions(project, lease.regions(generation))
    if found:
        with suppress(StoreError):  # a store that doesn't answer may have it, or not: the other regions are named
            if reading_store(project).size(*generation.split(".")) is not None:
                return set()
    return found
