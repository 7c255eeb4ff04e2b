"""The warnings of a run's tasks."""

from __future__ import annotations

import shlex

from msgspec import Struct

from headrace.define.log import WARNING
from headrace.inspect.late_advances import overtaken, passed_again
from headrace.inspect.views import ShownView, Views, judged
from headrace.report.measures import bytes_text


class Warned(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task and one of its warnings. If the run judged several models, `of` names the model that this task judged;
    otherwise `of` is empty."""

    task: str
    text: str
    of: str = ""

    @property
    def who(self) -> str:
        """The task's name, with the model that it judged."""
        return f"`{self.task}`{f' (of {self.of})' if self.of else ''}"

    def __str__(self) -> str:
        return f"{self.who} warns: {self.text}"


def warnings(views: Views, run: str) -> list[Warned]:
    """Return each warning of a run's tasks once, including the warnings of reused tasks. Add a warning for each output
    that this run and an overlapping run both pass on.

    If a task was tried several times and has succeeded, only the warnings of the attempts count from which its result
    comes. `headrace get --logged warning` has the others too.
    If a warning is too long for the ledger, the text is a command that prints the warning.
    """
    by_text = {(each.task, each.out.digest): each for each in views.texts(run, name=WARNING, of_result=True)}
    subjects = judged(views, run, [each.task for each in by_text.values()])
    return [
        *(Warned(task=each.task, text=_told(run, each), of=subjects.get(each.task, "")) for each in by_text.values()),
        *(Warned(task=each.task, text=each.text) for each in passed_again(views, run)),
    ]


def texts_of_results(views: Views, run: str) -> list[ShownView]:
    """Return the texts that a run's tasks have logged, without the warnings of attempts that a task's result doesn't
    come from."""
    counted = set(views.texts(run, name=WARNING, of_result=True))
    return [each for each in views.texts(run) if each.name != WARNING or each in counted]


def all_warnings(views: Views, run: str) -> tuple[Warned, ...]:
    """Return the warnings of a run's tasks, and for each advance of a cursor that was dropped, a warning that says
    so."""
    late = (Warned(task=each.task, text=each.text) for each in overtaken(views, run))
    return (*warnings(views, run), *late)


def _told(run: str, warning: ShownView) -> str:
    if warning.out.inline is not None:
        return warning.out.inline.decode(errors="replace")
    words = ["headrace", "get", run, warning.task, "--logged", warning.name, "--step", str(warning.step)]
    return f"a warning of {bytes_text(warning.out.size)}: `{shlex.join(words)}`"
