"""The time, as a pipeline's body may ask for it."""

from __future__ import annotations

import datetime as dt

from headrace.define.ports import resolver


def now() -> dt.datetime:
    """Return the present time in UTC; a run that is resumed gets the answer that it got first."""
    found = resolver.get()
    return dt.datetime.now(dt.UTC) if found is None else dt.datetime.fromtimestamp(found.now(), dt.UTC)
