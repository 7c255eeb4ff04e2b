"""Writes the page about a run to a file."""

from __future__ import annotations

import time
from pathlib import Path

from headrace.app.output import written
from headrace.app.page import page
from headrace.app.page_reading import run_facts
from headrace.app.project import Project
from headrace.app.reading import Views


def write_page(project: Project, views: Views, run_id: str | None, to: Path | None) -> Path:
    """Write a run's page, to `RUN.html` in the current folder unless told otherwise, and give the file.

    Raises:
        NotFoundError: there is no such run.
        UsageError: it can't be written there.
    """
    facts = run_facts(project, views, run_id, now=time.time())
    file = Path(f"{facts.run}.html") if to is None else to
    write_text(file, page(facts))
    return file


def write_text(file: Path, text: str) -> None:
    """Write a page, or other text, to a file.

    Raises:
        UsageError: it can't be written there.
    """
    with written(file, "") as (_, aside):
        aside.write_text(text, encoding="utf-8")
