"""`headrace card`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import complete, options
from headrace.cli.terminal.terminal import say, say_file, say_json
from headrace.inspect.card.gather import CardMaker
from headrace.inspect.card.sections import html, markdown
from headrace.inspect.get.output_file import PAGES, form_of
from headrace.inspect.page.write import write_text
from headrace.inspect.views import read
from headrace.project import project


@click.command()
@click.argument("run_id", metavar="RUN|MODEL", shell_complete=complete.artifacts)
@click.argument("task", metavar="[TASK]", required=False, shell_complete=complete.tasks)
@click.option(
    "--to", type=options.FILE, metavar="FILE", help="Write the card to this file: Markdown for `.md`, else HTML."
)
@options.as_json
@options.config
def command(run_id: str, task: str | None, to: Path | None, as_json: bool, config: Path | None) -> int:
    """Makes the card from recorded facts only. It shows the model, its results with intervals, baselines, slices and
    gates, its data with lineage and checks, its training, code, limits and cost. Without `--to`, the card is printed as
    Markdown.

    The model is the output of TASK, or of TASK.PART. Without TASK, it is the model that the run registered, or, if
    there is none, the last model that its tasks returned. MODEL is the address of a registered model: `model:NAME`,
    `model:NAME:3` or `model:NAME@ALIAS`.
    """
    form = form_of(to, (*PAGES, ".md"), "a card")
    found = project.load(overlay=config)
    with read(found) as views:
        card = CardMaker(found, views).card_of(run_id, task)
    if to is not None:
        name = f"{card.title}{form}".replace("/", "-")
        to = write_text(to, markdown(card) if form == ".md" else html(card), name)
    if as_json:
        say_json(card)
    elif to is not None:
        say_file(to)
    else:
        say(markdown(card).rstrip())
    return 0
