"""`hr.now`: the time for a pipeline's body."""

from __future__ import annotations

import datetime as dt

from headrace.define.ports import resolver


def now() -> dt.datetime:
    """Return the present time in UTC. If the run is resumed, it gets this time again."""
    active = resolver.get()
    return dt.datetime.now(dt.UTC) if active is None else dt.datetime.fromtimestamp(active.now(), dt.UTC)
