"""The other regions, as a run in one of them sees them."""

from __future__ import annotations

from headrace.project.project import Project
from headrace.project.state import open_store, reading_store
from headrace.run.driver.regions import Elsewhere
from headrace.spec.bundle import Bundle
from headrace.spec.fleet import Pool
from headrace.store.store import Store


def elsewhere(project: Project, pool: Pool) -> list[Elsewhere]:
    """Return all regions but the pool's own: what their stores hold can be brought to it."""
    here = project.region(pool.region)
    return [
        Elsewhere(region.name, open_store(project, region.name), region.store, project.link(region.name, here.name))
        for region in project.regions()
        if region.store != here.store
    ]


def bring_bundle(project: Project, bundle: Bundle, store: Store) -> None:
    """Bring a run's code to the store of the region where the run goes on, whichever region it is in now.

    Raises:
        BlobMissing: no region has it.
    """
    if store.size(bundle.digest, bundle.nonce) is not None:
        return
    with reading_store(project).reader(bundle.digest, bundle.nonce) as file, store.batch() as batch:
        batch.replicate(bundle.digest, bundle.nonce, file)
