"""What the tasks of a run warn of, though they succeeded."""

from __future__ import annotations

import shlex

from msgspec import Struct

from headrace.app.measures import bytes_text
from headrace.app.reading import ShownView, Views
from headrace.define.log import WARNING


class Warned(Struct, frozen=True, kw_only=True):
    """A task, and what it warned of."""

    task: str
    text: str


def warnings(views: Views, run: str) -> list[Warned]:
    """Give what the tasks of a run warn of, those that were reused too, each once; of a warning that is too long for
    the ledger, which command gives it."""
    found = {(each.task, each.out.digest): each for each in views.texts(run, name=WARNING)}
    return [Warned(task=each.task, text=_told(run, each)) for each in found.values()]


def _told(run: str, warning: ShownView) -> str:
    if warning.out.inline is not None:
        return warning.out.inline.decode(errors="replace")
    words = ["headrace", "get", run, warning.task, "--logged", warning.name, "--step", str(warning.step)]
    return f"a warning of {bytes_text(warning.out.size)}: `{shlex.join(words)}`"
