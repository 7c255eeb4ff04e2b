"""`hr.options`: options for all stages that are called in a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.define.ports import declared
from headrace.define.stage import check_known


@contextmanager
def options(**given: Any) -> Iterator[None]:
    """Set options for all stages that are called in the block: `with hr.options(retries=3, timeout="1h"):`.

    The options are those of `@stage` except `name`. Only `portable` and `environment` can change a stage's keys. The
    options also apply to stages that are called by functions in the block, such as `ingest.sql`. `with_options`
    overrides them for a single call, and an inner block overrides an outer one.

    Raises:
        DefinitionError: there is no such option. A wrong value is reported only when a stage is called.
    """
    check_known("hr.options", given, without=("name",))
    token = declared.set({**(declared.get() or {}), **given})
    try:
        yield
    finally:
        declared.reset(token)
