"""`hr.log`: live values of a stage, for those who look on while it runs."""

from __future__ import annotations

import os
import sys

from headrace.define.log_file import FILE, pass_on
from headrace.define.ports import current

WARNING = "warning"
"""Texts under this name are told at the end of `headrace run`, and by `headrace show`."""


def log(name: str, value: object, step: int | None = None) -> None:
    """Have the run show a value under a name, such as `train/loss`; outside of a run, do nothing.

    A number (of Python, NumPy or torch, NaN and infinities too) is a point of a curve; a text, a `Picture` or a
    matplotlib figure is kept as it is now, and a text called `warning` is told where the run ends, too. `step` counts
    what the stage counts (batches, rounds, epochs); without it, values are numbered from 0 under each name. Where an
    attempt starts over from a checkpoint, its points replace those of the attempt before from its first step on. Of an
    attempt that spans nodes, only the first one's values count, save those whose name begins with `rank`. It may be
    called from threads, from any code that a stage calls, and (numbers and texts) from processes that it begins, whose
    `RANK` counts likewise.

    Raises:
        UsageError: the value is none of these, or the step is no whole number.
    """
    attempt = current()
    if attempt is not None:
        attempt.log(name, value, step)
    elif (path := os.environ.get(FILE)) is not None:
        pass_on(path, name, value, step)


def warn(text: str) -> None:
    """Tell whoever runs a pipeline what they should know though nothing failed: where the run ends, by `headrace show`
    and in the task's log."""
    sys.stderr.write(f"warning: {text}\n")
    log(WARNING, text)
