"""Cursors for `headrace cursors` and `headrace rewind`."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.codec.classes import describe
from headrace.codec.codecs import Codecs
from headrace.errors import LedgerError, NotFoundError, UsageError, near
from headrace.inspect.metrics.metrics import Load, loader
from headrace.inspect.value_text import SMALL_BYTES, value_text
from headrace.inspect.views import CursorView, Views, read
from headrace.ledger import cursors
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store, reading_store
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance
from headrace.stages.ingest.cursor import reached

_WRITTEN: dict[type, str] = {
    int: "a whole number, as `12`",
    float: "a number, as `1.5`",
    bool: "`true` or `false`",
    date: "a day, as `2026-11-26`",
    datetime: "a time, as `2026-11-26T08:30:00`",
    Decimal: "a number, as `1.50`",
}
"""The form in which a value is written after `--to`, by the value's class. A text can be any word."""

_TYPES = {describe(kind): kind for kind in (str, *_WRITTEN)}
"""The classes whose values can be written after `--to`, by their names in artifacts."""


class CursorVersion(Struct, frozen=True, kw_only=True):
    """A version of a cursor, for display.

    `value` is the cursor's value in JSON's types. It is None if there is no value, if the value is large, or if JSON
    has no form for it, as for a table. If a ready-made stage has set the value, `reached` says in words how far that
    stage has read its source; otherwise it is None. `kept` is False if the value was deleted, so that the cursor can't
    be set back to the value. `erased` is True if it was deleted because `headrace erase` erased a part of it. The
    version was set by the task `task` of `run`, or by the person `by`, at the time `at` (Unix seconds). Each of these
    is None if it isn't known.
    """

    name: str
    version: int
    value: object
    reached: str | None
    kept: bool
    erased: bool
    type: str
    digest: str
    bytes: int
    run: str | None
    task: str | None
    by: str | None
    at: float | None


class Rewound(Struct, frozen=True, kw_only=True):
    """The versions of a cursor before and after it was set back. With `--dry-run`, `after` is the version that would be
    added."""

    before: CursorVersion
    after: CursorVersion


def versions(project: Project, views: Views, name: str | None = None) -> list[CursorVersion]:
    """Return the newest version of each cursor, or with `name` all versions of that cursor, the newest first.

    Raises:
        NotFoundError: there is no cursor of that name.
    """
    load = loader(reading_store(project))
    return [_shown(each, load) for each in (views.cursors() if name is None else _of(views, name))]


def rewind(project: Project, name: str, *, to: str | None = None, version: int = 0, dry_run: bool = False) -> Rewound:
    """Set a cursor to the value `to`, or to the value of an earlier version, and return the versions before and after.

    `to` is text in the form of the cursor's values. Without `to`, the cursor gets the value of `version`; version 0 is
    the state before the first version, when the cursor had no value. A new version is added, and no version is deleted.
    With `dry_run`, nothing is changed.

    Raises:
        NotFoundError: there is no such cursor or version, or the version's value was deleted.
        UsageError: `to` isn't a value of this cursor, or a run has advanced the cursor meanwhile.
    """
    load = loader(reading_store(project))
    with read(project) as views:
        found = _of(views, name)
    newest = found[0]
    value = _value(found, version) if to is None else _parsed(found, to)
    if isinstance(value, CursorView):
        if not value.kept:
            raise cursors.given_up(name, value.value, is_erased=value.erased)
        ref = value.value
    else:
        ref = _saved(project, value)
    with open_ledger(project) as ledger:
        by = ledger.user
        row = {"version": newest.version + 1, "value": ref, "by": by, "kept": True, "erased": False}
        after = replace(newest, run=None, task=None, at=None, **row)
        done = Rewound(before=_shown(newest, load), after=_shown(after, load))
        if not dry_run:
            cursors.advance(ledger, Advance(name, newest.version, ref), by=by)
    if not dry_run:
        # The cursor is set already. If the new version can't be read, the only effect is that its time isn't shown.
        with suppress(LedgerError), read(project) as views:
            at = next(each.at for each in views.cursors(name) if each.version == after.version)
            done = replace(done, after=replace(done.after, at=at))
    return done


def _of(views: Views, name: str) -> list[CursorView]:
    found = views.cursors(name)
    if not found:
        names = [each.name for each in views.cursors()]
        raise NotFoundError(f"there is no cursor `{name}`", hint=near(name, names, "the cursors are"))
    return found


def _value(found: list[CursorView], version: int) -> CursorView | None:
    """Return the version with the number `version` among a cursor's versions `found`; None for the number 0.

    Raises:
        NotFoundError: there is no such version.
    """
    for each in found:
        if each.version == version:
            return each
    if version == 0:
        return None
    raise NotFoundError(f"cursor `{found[0].name}` has no version {version}", hint=f"its newest is {found[0].version}")


def _parsed(found: list[CursorView], text: str) -> object:
    """Return a text as a value of the class that the cursor's latest value has: a number, a day, a text.

    Raises:
        UsageError: the text isn't such a value, or values of this class can't be written as text.
    """
    name = found[0].name
    kinds = [each.value.type for each in found if each.value.type != describe(type(None))]
    kind = _TYPES.get(kinds[0]) if kinds else str
    if kind is None:
        raise UsageError(
            f"the values of cursor `{name}` are of class `{kinds[0].removeprefix('builtins.')}`, which can't be written"
            " after `--to`",
            hint=f"name an earlier version by `--to-version`; `headrace cursors {name}` lists them",
        )
    if len(text.encode()) > SMALL_BYTES:
        raise UsageError(f"the value for cursor `{name}` is longer than {SMALL_BYTES} bytes", hint="give a shorter one")
    try:
        return text if kind is str else msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise UsageError(
            f"`{text}` is not a value for cursor `{name}`, whose values are of class `{kind.__name__}`",
            hint=f"give {_WRITTEN[kind]}",
        ) from None


def _saved(project: Project, value: object) -> Ref:
    ref = Codecs().save(value, open_store(project))
    assert ref.inline is not None  # a value written as text is small
    return ref


def _shown(view: CursorView, load: Load) -> CursorVersion:
    text = value_text(view.value, load)
    kind = view.value.type.partition("@")[0].removeprefix("builtins.")
    return CursorVersion(
        name=view.name,
        version=view.version,
        value=text if text is None or kind == "str" else msgspec.json.decode(text),
        reached=reached(view.value, load) if text is None else None,
        kept=view.kept,
        erased=view.erased,
        type=kind,
        digest=view.value.digest,
        bytes=view.value.size,
        run=view.run,
        task=view.task,
        by=view.by,
        at=view.at,
    )
