"""The last word on a run: one line, or the run's object, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from headrace.app.measures import seconds_text, usd_text
from headrace.app.reading import RunView, Views
from headrace.cli.marks import STYLES
from headrace.cli.terminal import say, say_json, tell

EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 3, "refused": 4}


def close(views: Views, run_id: str, *, as_json: bool) -> int:
    """Show how a run ended and give the exit code; one that still lives has 0. Nobody has to read it."""
    view = views.show(run_id) if as_json else views.find(run_id)
    try:
        say_json(view) if as_json else say(line(view, views.states(run_id)), STYLES[view.state])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not as_json:
        if view.why:
            tell(view.why)
        if view.state == "failed":
            see = f"`headrace show {view.run}` for its tasks, `headrace logs {view.run}` for what they printed"
            tell(see, label="hint:")
        elif view.state == "cancelled":
            tell(f"`headrace resume {view.run}` goes on from here", label="hint:")
    return EXIT_CODES.get(view.state, 0)


def begun(view: RunView, *, as_json: bool) -> int:
    """Show that a run goes on by itself, and give the exit code."""
    say_json(view) if as_json else say(view.run)
    return 0


def line(view: RunView, states: Mapping[str, int]) -> str:
    """Say how a run ended: `run 3f2a succeeded in 3.2 s: 3 succeeded, 1 reused`."""
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    cost = f", {usd_text(view.usd)}" if view.usd else ""
    return f"run {view.run} {view.state} in {seconds_text(view.seconds)}{cost}" + (f": {counts}" if counts else "")
