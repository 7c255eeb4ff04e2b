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

    It takes the options of `@stage` except `name`; none of them is in a key. It also applies in functions that call
    several stages, such as `ingest.sql`. For a single call, `with_options` overrides it, and an inner block
    overrides an outer one.

    Raises:
        DefinitionError: something of this makes no sense.
    """
    check_known("hr.options", given, without=("name",))
    token = declared.set({**(declared.get() or {}), **given})
    try:
        yield
    finally:
        declared.reset(token)
