"""Notices to people about runs, as commands and pages show them."""

from __future__ import annotations

from msgspec import Struct

from headrace.inspect.views import Views
from headrace.ledger.records import NoticeRecord
from headrace.ledger.standing.notices import LASTS_S, facts_of


class NoticeView(Struct, frozen=True, kw_only=True):
    """A notice: its kind (`run.failed`, `run.refused` or `run.waiting`), its run, and its facts.

    `state` is `pending`, `sent`, `failed` (all tries failed), `late` (it became too old before it was sent) or
    `imported` (it came from another ledger or a backup, and isn't sent from here). `sent` names the ways by which it
    was sent, and `error` says why the last try failed. All times are Unix seconds; the next try begins at `due` at the
    earliest.
    """

    id: str
    kind: str
    run: str | None
    at: float
    state: str
    tries: int
    due: float | None
    sent: tuple[str, ...]
    error: str | None
    facts: dict[str, object]


def notices(views: Views, now: float, run: str | None = None) -> list[NoticeView]:
    """Return the notices about a run, the oldest first. If `run` is None, return the newest notices, the newest
    first."""
    return [_view(each, now) for each in (views.notices() if run is None else views.notices_of(run))]


def _view(row: NoticeRecord, now: float) -> NoticeView:
    is_unsent = row.state in ("pending", "sending")
    state = row.state if not is_unsent else "late" if row.at <= now - LASTS_S else "pending"
    return NoticeView(
        id=row.id,
        kind=row.kind,
        run=row.run,
        at=row.at,
        state=state,
        tries=row.tries,
        due=row.due if state == "pending" else None,
        sent=tuple(way for way in row.sent.split(",") if way),
        error=row.error,
        facts=facts_of(row),
    )
