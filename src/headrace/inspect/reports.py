"""What tasks have told beside their outputs, each with the task that told it: reports and curves."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.metrics.curves import Line
from headrace.spec.report import Report


class Judged(Struct, frozen=True, kw_only=True):
    """A report, and the task that gave it; `of` says which model that judged, where the run judged several."""

    task: str
    report: Report
    of: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing in it but rules."""
        return not (self.report.facts or self.report.grids or self.report.drawings)


class Logged(Struct, frozen=True, kw_only=True):
    """A curve, and the task that logged it."""

    task: str
    name: str
    line: Line
