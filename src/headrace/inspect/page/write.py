"""Writes the page about a run to a file."""

from __future__ import annotations

import time
from pathlib import Path

from headrace.inspect.get.output_file import PAGES, form_of, written
from headrace.inspect.page.gather import run_facts
from headrace.inspect.page.page import page
from headrace.inspect.views import Views
from headrace.project.project import Project


def write_page(project: Project, views: Views, run_id: str | None, to: Path | None) -> Path:
    """Write a run's page to `to`, or to `RUN.html` in the current folder if `to` is None, and return the file's path.

    Raises:
        NotFoundError: there is no such run.
        UsageError: the file can't be written.
    """
    form_of(to, PAGES, "the page of a run")
    facts = run_facts(project, views, run_id, now=time.time())
    name = f"{facts.run}.html"
    return write_text(Path(name) if to is None else to, page(facts), name)


def write_text(to: Path, text: str, name: str) -> Path:
    """Write a page or other text to the file `to`. If `to` is a folder, write the file `name` in that folder. Return
    the file's path.

    Raises:
        UsageError: the file can't be written.
    """
    with written(to, name) as (path, aside):
        aside.write_text(text, encoding="utf-8")
    return path
