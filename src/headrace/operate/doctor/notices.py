"""The check of the notices: whether they can be sent, and whether some could not be."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable
from functools import partial

from headrace.errors import listed
from headrace.inspect.notices import notices
from headrace.inspect.views import read
from headrace.operate.doctor.finding import Answer
from headrace.project.project import Project
from headrace.report.measures import count_text


def notice_checks(project: Project) -> dict[str, Callable[[], Answer]]:
    """Return the check of the notices, by name. There is none if the settings name no way to send them."""
    section = project.config.notify
    return {} if section.command is None and section.webhook is None else {"notices": partial(_notices, project)}


def _notices(project: Project) -> Answer:
    section = project.config.notify
    if section.command is not None:
        words = shlex.split(section.command) if isinstance(section.command, str) else section.command
        if shutil.which(_place(project, words[0])) is None:
            return "wrong", f"there is no command `{words[0]}`", "correct `[notify] command`, or install the command"
    if section.secret is not None and not os.environ.get(section.secret):
        hint = "set it where runs are started: without it, the webhook gets no notice"
        return "wrong", f"the environment variable `{section.secret}` isn't set", hint
    with read(project) as views:
        known = notices(views, time.time())
    unsent = [notice for notice in known if notice.state not in ("sent", "imported") and notice.error]
    ways = listed([way for way in ("command", "webhook") if getattr(section, way) is not None])
    if unsent:
        found = f"{count_text(len(unsent), 'notice')} could not be sent; the newest: {unsent[0].error}"
        return "doubtful", found, "`headrace notices` lists them, and `headrace notices --send` tries again"
    return "well", f"sent by {ways} when a run is {' or '.join(section.on)}", None


def _place(project: Project, word: str) -> str:
    """Return a command's path. A relative path starts from the project's folder, because the command will run there. A
    bare name is returned unchanged."""
    return str(project.root / word) if os.sep in word else word
