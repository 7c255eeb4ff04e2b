"""`headrace notices`."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.notices import say_notices
from headrace.cli.terminal.terminal import say_json, tell
from headrace.errors import listed
from headrace.inspect.notices import notices
from headrace.inspect.views import read
from headrace.project import project
from headrace.report.measures import count_text


@click.command()
@click.option("--send", is_flag=True, help="Send now what isn't sent yet, even if all tries to send it have failed.")
@options.as_json
@options.config
def command(send: bool, as_json: bool, config: Path | None) -> int:
    """A notice tells people that a run failed, was refused, or waits for something outside, such as an approval.
    `[notify]` of headrace.toml says how notices are sent. The command that ends a run sends them. If this fails, later
    commands try again, with growing pauses. There are six tries in all. A notice older than three days is not sent any
    more.

    With `--json`: `{"notices": [...]}`, the newest first, each with `id`, `kind`, `run`, `at`, `state` (`pending`,
    `sent`, `failed`, `late` or `imported`), `tries`, `due`, `sent` (the ways by which it was sent), `error` and
    `facts`. An imported notice came from another ledger or a backup, and isn't sent from here.

    The exit code is 1 if `--send` could not send a notice.
    """
    found = project.load(overlay=config)
    failed = False
    if send:
        told = importlib.import_module("headrace.operate.notify.sender").send_all(found)  # it opens the ledger
        failed = bool(told.unsent)
    with read(found) as views:
        rows = notices(views, time.time())
    if as_json:
        say_json({"notices": rows})
    elif not rows:
        tell("there is no notice yet: a run that fails, is refused or waits makes one")
    else:
        say_notices(rows)
    unwanted = [row.kind for row in rows if row.state == "pending" and row.kind not in found.config.notify.kinds]
    if unwanted:
        what = f"{count_text(len(unwanted), 'notice')} ({listed(sorted(set(unwanted)))})"
        tell(f"these settings don't send {what}: `[notify] on` leaves that kind out", label="note:")
    return 1 if failed else 0
