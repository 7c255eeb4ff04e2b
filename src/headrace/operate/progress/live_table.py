"""Progress as a table on a terminal, updated in place."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headrace.operate.progress.observer import RunRow, TaskRow
from headrace.operate.progress.stage_counts import Stage, StageCounts
from headrace.report.marks import MARKS, STYLES, printable
from headrace.report.measures import seconds_text

BARS_FROM = 60
"""The least width of a terminal, in characters, that has room for bars."""


class LiveObserver:
    """An observer that shows a line for each stage: its state, how many tasks are done, running, reused and failed, and
    its time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = StageCounts()
        self._run_id = ""
        self._began = time.monotonic()
        colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        console = Console(stderr=True, color_system=colours)  # by itself, rich would still write bold and dim
        self._live = Live(self, console=console, refresh_per_second=8, vertical_overflow="crop")

    def opened(self, run_id: str) -> None:
        self._run_id = run_id
        self._live.start()

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        with self._lock:
            self._counts.absorb(rows)

    def note(self, text: str) -> None:
        self._live.console.print(Text(printable(text)))

    def closed(self, _row: RunRow) -> None:
        self.leave()

    def leave(self) -> None:
        """Stop updating. The last table stays on the screen, and the terminal is reset."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            stages = list(self._counts)
            yield Text.assemble(
                ("run ", "dim"), (self._run_id, "bold"), (f"  {seconds_text(time.monotonic() - self._began)}", "dim")
            )
            room = max(3, options.size.height - 4)
            shown = _most_telling(stages, room)
            yield self._table(shown, options.max_width)
            if len(shown) < len(stages):
                yield Text(f"  and {len(stages) - len(shown)} more stages", "dim")

    def _table(self, stages: Sequence[Stage], width: int) -> Table:
        """Return a table with a row for each stage. On a narrow terminal, bars are left out and long names cut off."""
        with_bars = width >= BARS_FROM
        now = time.monotonic()
        rests = [f"{each.done}/{each.total}  {printable(each.counts)}  {each.took(now)}  " for each in stages]
        room = max(10, width - max(map(len, rests), default=0) - (18 if with_bars else 0))
        table = Table.grid(padding=(0, 2))
        for _ in range(5 if with_bars else 4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for stage in stages:
            state = stage.state
            style = STYLES[state]
            name = Text(f"{MARKS[state]} {printable(stage.name)}", style)
            name.truncate(room, overflow="ellipsis")
            bar = ProgressBar(
                total=max(1, stage.total), completed=stage.done, width=16, complete_style=style, finished_style=style
            )
            table.add_row(
                name,
                *([bar] if with_bars else []),
                Text(f"{stage.done}/{stage.total}"),
                Text(printable(stage.counts), "dim"),
                Text(stage.took(now), "dim"),
            )
        return table


def _most_telling(stages: Sequence[Stage], room: int) -> list[Stage]:
    """Return at most `room` stages, in their order. If there are more, running stages are preferred, then failed,
    waiting and done ones."""
    order = {"running": 0, "failed": 1, "cancelled": 1, "waiting": 2}
    kept = sorted(stages, key=lambda stage: order.get(stage.state, 3))[:room]
    return [stage for stage in stages if stage in kept]
