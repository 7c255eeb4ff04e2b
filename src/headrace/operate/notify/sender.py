"""Sends the notices of the outbox. How they are sent is set by `[notify]` in the settings of the process that sends
them."""

from __future__ import annotations

import importlib
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from headrace.errors import HeadraceError
from headrace.ledger.ledger import Ledger
from headrace.ledger.outbox import Outbox, pause_s, retry
from headrace.ledger.records import NoticeRecord
from headrace.ledger.standing.notices import facts_of
from headrace.project.project import Project
from headrace.project.settings import NotifySection
from headrace.project.state import open_ledger
from headrace.report.measures import seconds_text
from headrace.waits import waiting

LIMIT_S = 10.0
"""How long one try by one way may last, in seconds."""
TOTAL_S = 20.0
"""How long one call may spend on sending notices, in seconds."""
INSIDE = "HEADRACE_NOTICE_ID"
"""The environment variable by which a command gets the id of the notice that it sends."""

Way = Callable[[str, bytes, float], str | None]
"""Sends a notice by one way: takes its id, its body and the time limit in seconds. Returns what went wrong, or None."""


class Told(Struct, frozen=True):
    """The result of sending: the notices that were sent, and the notices that could not be sent."""

    sent: tuple[NoticeRecord, ...] = ()
    unsent: tuple[NoticeRecord, ...] = ()


def send_due(project: Project, ledger: Ledger, note: Callable[[str], None] = lambda _: None) -> Told:
    """Send the notices that are due, the oldest first, for at most `TOTAL_S` seconds. `note` gets a line for each
    reason why notices could not be sent. No error is raised, because nothing is lost: unsent notices stay in the
    outbox, and the results that they report are stored already."""
    ways = ways_of(project)
    if not ways:
        return Told()
    ends = time.monotonic() + TOTAL_S
    sent: list[NoticeRecord] = []
    unsent: list[NoticeRecord] = []
    try:
        with Outbox(ledger) as outbox:
            for notice in outbox.due(project.config.notify.kinds):
                if time.monotonic() >= ends:
                    break
                if (claimed := outbox.claim(notice)) is None:
                    continue
                done = _send(project, outbox, claimed, ways, ends)
                (sent if done.error is None else unsent).append(done)
    except HeadraceError as error:  # the ledger is lost
        note(f"notices are sent later: {error.message}")
    for line in failures(unsent):
        note(line)
    return Told(tuple(sent), tuple(unsent))


def send_all(project: Project) -> Told:
    """Send all notices that are not sent yet, including those that failed, for at most `TOTAL_S` seconds."""
    with open_ledger(project) as ledger:
        retry(ledger)
        return send_due(project, ledger)


def ways_of(project: Project) -> dict[str, Way]:
    """Return the ways by which the settings send notices, by name. There are none inside a command that sends a notice:
    if the command started a run that failed, the run's notice would start the command again, and so on for ever."""
    section, ways = project.config.notify, dict[str, Way]()
    if INSIDE in os.environ:
        return ways
    if section.command:
        ways["command"] = lambda notice, body, limit_s: _command(project, section, notice, body, limit_s)
    if section.webhook is not None:
        ways["webhook"] = lambda notice, body, limit_s: _webhook(section, notice, body, limit_s)
    return ways


def failures(notices: Sequence[NoticeRecord]) -> list[str]:
    """Return lines that say why notices could not be sent, and what happens next. Notices with the same reason share a
    line."""
    runs: dict[str, list[str | None]] = {}
    for notice in notices:
        runs.setdefault(_failure(notice), []).append(notice.run)
    return [
        f"the notice about run {of[0]} could not be sent: {why}"
        if len(of) == 1
        else f"{len(of)} notices could not be sent, the first about run {of[0]}: {why}"
        for why, of in runs.items()
    ]


def _failure(notice: NoticeRecord) -> str:
    if notice.state == "failed":
        return f"{notice.error}; this was try {notice.tries}, the last: `headrace notices --send` tries again"
    pause = seconds_text(pause_s(notice.tries))
    return f"{notice.error}; the next command that ends a run tries again, in {pause} at the earliest"


def body_of(project: Project, notice: NoticeRecord) -> bytes:
    """Return a notice as JSON. `text` is a sentence for people; chat servers show it."""
    facts = facts_of(notice)
    why = f": {facts['why']}" if facts.get("why") else ""
    data = {"project": project.name, "run": notice.run, **facts}
    return msgspec.json.encode(
        {
            "type": notice.kind,
            "timestamp": datetime.fromtimestamp(notice.at, UTC).isoformat(),
            "id": notice.id,
            "data": data,
            "text": f"{project.name}: run {notice.run} {words_of(notice.kind)}{why}",
        }
    )


def words_of(kind: str) -> str:
    """Return the words for a kind of notice, to be put after a run's id, such as `was refused`."""
    state = kind.rpartition(".")[2]
    return {"refused": "was refused", "waiting": "waits"}.get(state, state)


def _send(project: Project, outbox: Outbox, notice: NoticeRecord, ways: Mapping[str, Way], ends: float) -> NoticeRecord:
    """Try to send a claimed notice by each way by which it wasn't sent yet, and record the result."""
    sent = [way for way in notice.sent.split(",") if way]
    errors, body = [], body_of(project, notice)
    for name, send in ways.items():
        if name in sent:
            continue
        limit_s = min(LIMIT_S, ends - time.monotonic())
        with waiting(f"the {name} of `[notify]`", limit_s):
            error = send(notice.id, body, limit_s) if limit_s > 0 else "there was no time left for it"
        if error is None:
            sent.append(name)
        else:
            errors.append(error)
    return outbox.settle(notice, sent=sent, error="; ".join(errors) or None)


def _command(project: Project, section: NotifySection, notice: str, body: bytes, limit_s: float) -> str | None:
    send = importlib.import_module("headrace.operate.notify.command").send  # few projects have notices
    words = shlex.split(section.command) if isinstance(section.command, str) else section.command
    environment = {**os.environ, INSIDE: notice}
    error: str | None = send(words, body, environment=environment, folder=project.root, limit_s=limit_s)
    return error


def _webhook(section: NotifySection, notice: str, body: bytes, limit_s: float) -> str | None:
    secret = None
    if section.secret is not None and not (secret := os.environ.get(section.secret)):
        return f"the environment variable `{section.secret}`, which `[notify] secret` names, isn't set"
    webhook = importlib.import_module("headrace.operate.notify.webhook")  # it imports httpx
    sent = webhook.headers(notice, body, int(time.time()), secret)
    error: str | None = webhook.send(section.webhook, body, sent, limit_s=limit_s)
    return error
