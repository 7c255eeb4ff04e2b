"""Reports and curves, each with the task that made it."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.metrics.curves import Line
from headrace.spec.report import Report


class Judged(Struct, frozen=True, kw_only=True):
    """A report, and the task that made it. If the run judged several models, `of` names the model that this report
    judges; otherwise `of` is empty."""

    task: str
    report: Report
    of: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether the report holds nothing but rules."""
        return not (self.report.facts or self.report.grids or self.report.drawings)


class Logged(Struct, frozen=True, kw_only=True):
    """A curve, and the task that logged it."""

    task: str
    name: str
    line: Line
