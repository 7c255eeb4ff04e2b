"""Unfinished files of a store. Those of a process that was killed may hold the person, and no row of the ledger names
them."""

from __future__ import annotations

from headrace.ledger.upkeep.gc import GRACE_S
from headrace.store.store import Store


def discard_drafts(store: Store, active: str | None) -> str | None:
    """Delete the unfinished files of a store whose writers must be gone: nobody has written to them for an hour, and no
    run is active. `active` is a run that is. If there are others, return words which say so."""
    now, left = store.now(), 0
    for stray in store.strays(now):
        if active is None and stray.modified < now - GRACE_S:
            store.discard(stray)
        else:
            left += 1
    if not left:
        return None
    when = "in an hour" if active is None else f"when run `{active}` has ended"
    return f"{left:,} unfinished file{'s' * (left != 1)} may hold the person, or are being written: resume {when}"
