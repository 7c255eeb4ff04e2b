"""A stage as a worker has it loaded."""

from __future__ import annotations

import collections.abc
import inspect
from typing import Any, Self, get_origin

from msgspec import Struct

from headrace.define.argument_check import check_table, takes_table
from headrace.define.call import hint_of
from headrace.define.stage import StageFunction
from headrace.fingerprint.fingerprint import fingerprint
from headrace.fingerprint.project import Project

_ANNOTATE = "; if the stage that makes the value is annotated with a return type, this is found before anything runs"


class LoadedStage(Struct):
    """A stage as a worker has it loaded: how to call it, and the digest of its code in this process."""

    stage: StageFunction[..., Any]
    code: str
    unread: frozenset[str]
    is_async: bool

    @classmethod
    def of(cls, stage: StageFunction[..., Any], project: Project) -> Self:
        """Return a stage with the digest of its code in this process."""
        return cls(
            stage=stage,
            code=fingerprint(stage.function, project).digest,
            unread=frozenset(getattr(stage.function, "__headrace_unread__", ())),
            is_async=inspect.iscoroutinefunction(stage.function),
        )

    def fitted(self, name: str, value: object) -> object:
        """Return an argument in the form that the stage's annotation asks for: a whole table, or a stream of batches.

        Raises:
            UsageError: a stage that comes with Headrace takes a table, and the value isn't one.
        """
        hint = hint_of(self.stage, name)
        if _is_stream(hint):
            return _streamed(value)
        if takes_table(hint):
            value = _gathered(value)
            if hasattr(self.stage.function, "__headrace_version__"):
                check_table(self.stage.name, name, value, hint, _ANNOTATE)
        return value


def _is_stream(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return origin in (collections.abc.Iterator, collections.abc.Iterable) or (
        getattr(origin, "__name__", "") == "RecordBatchReader"
    )


def _gathered(value: Any) -> Any:
    """Return a stream of batches as one table, whose data stays memory-mapped. Return any other value unchanged."""
    is_reader = type(value).__module__.startswith("pyarrow") and hasattr(value, "read_all")
    return value.read_all() if is_reader else value


def _streamed(value: Any) -> Any:
    """Return an Arrow table as a stream of batches. Return any other value unchanged."""
    has_reader = type(value).__module__.startswith("pyarrow") and hasattr(value, "to_reader")
    return value.to_reader() if has_reader else value
