"""The last word on a run: one line, or the run's object, and the exit code."""

from __future__ import annotations

from collections import Counter

from headrace.app.measures import seconds_text, usd_text
from headrace.app.reading import RunView
from headrace.cli.marks import STYLES
from headrace.cli.terminal import say, say_json, tell

EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 3, "refused": 4}


def close(answer: RunView, *, as_json: bool) -> int:
    """Show how a run ended and give the exit code; one that still lives has 0."""
    if as_json:
        say_json(answer)
    else:
        say(line(answer), STYLES[answer.state])
        if answer.why:
            tell(answer.why)
        if answer.state == "failed":
            see = f"`headrace show {answer.run}` for its tasks, `headrace logs {answer.run}` for what they printed"
            tell(see, label="hint:")
    return EXIT_CODES.get(answer.state, 0)


def line(answer: RunView) -> str:
    """Say how a run ended: `run 3f2a succeeded in 3.2 s: 3 succeeded, 1 reused`."""
    states = Counter(task.state for task in answer.tasks or ())
    tasks = ", ".join(f"{count} {state}" for state, count in states.items())
    cost = f", {usd_text(answer.usd)}" if answer.usd else ""
    return f"run {answer.run} {answer.state} in {seconds_text(answer.seconds)}{cost}" + (f": {tasks}" if tasks else "")
