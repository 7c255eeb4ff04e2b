"""Reports and curves, each with the task that made it."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.metrics.curves import Line
from headrace.spec.report import Report


class Judged(Struct, frozen=True, kw_only=True):
    """A report, and the task that made it. `of` names the model that it judges if the
    run judged several, otherwise empty."""

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
