"""`hr.options`: what all stages that are called in a block are declared as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.define.ports import declared
from headrace.define.stage import check_known


@contextmanager
def options(**given: Any) -> Iterator[None]:
    """Declare all stages that are called in the block otherwise: `with hr.options(retries=3, timeout="1h"):`.

    It takes what `@stage` does, but for `name`, and none of that is in a key. It reaches into functions that call
    several stages, such as `ingest.sql`. What `with_options` says of a single call counts more, and an inner block
    more than the one around it.

    Raises:
        DefinitionError: something of this makes no sense.
    """
    check_known("hr.options", given, without=("name",))
    token = declared.set({**(declared.get() or {}), **given})
    try:
        yield
    finally:
        declared.reset(token)
