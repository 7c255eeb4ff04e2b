"""Prints versions of models and datasets on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from headrace.cli.terminal.table import Cell, table
from headrace.cli.terminal.terminal import say, say_json, say_styled, tell
from headrace.inspect.get.addresses import Kind
from headrace.inspect.views import MoveView, read
from headrace.operate.versions import Registered, Version, versions
from headrace.project import project
from headrace.report.marks import Style
from headrace.report.measures import bytes_text

STYLES: dict[bool | None, Style] = {True: "green", False: "red", None: "dim"}


def say_registered(kind: Kind, name: str | None, as_json: bool, config: Path | None) -> int:
    """Print the models or the datasets of a project, or all versions of the one named `name`; return exit code 0."""
    found = project.load(overlay=config)
    with read(found) as views:
        shown = versions(found, views, kind, name)
        moved = views.moves(kind, None if name is None else shown[0].name)
    if as_json:
        say_json({f"{kind}s": shown, "moves": moved})
    elif not shown:
        tell(f"there is no {kind} yet: `headrace register RUN TASK --{kind} NAME` makes one")
    elif name is None:
        _say_names(shown)
    else:
        _say_versions(shown)
        _say_moves(moved)
    return 0


def say_version(version: Registered, *, as_json: bool) -> None:
    """Print the address of a version that was registered, and on stderr the warnings of its endpoint's move."""
    say_json(version) if as_json else say(f"{version.kind}:{version.name}:{version.version}")
    for each in version.warnings:
        tell(each, label="warning:")


def _say_names(versions: Sequence[Version]) -> None:
    """Print a line for each name, with its newest version."""
    names: dict[str, list[Version]] = {}
    for each in versions:
        names.setdefault(each.name, []).append(each)
    heads = ["name", "newest", "versions", "aliases", "registered", "size", "report", "class"]
    for line in table(heads, [_name_row(its) for its in names.values()], numbers=(1, 2, 5), spare=("class", "size")):
        say_styled(line)


def _name_row(versions: Sequence[Version]) -> list[Cell]:
    newest = versions[0]
    aliases = [f"{alias}={each.version}" for each in versions for alias in each.aliases]
    return [
        newest.name,
        str(newest.version),
        str(len(versions)),
        " ".join(aliases),
        _time(newest.at),
        bytes_text(newest.bytes),
        (newest.verdict, STYLES[newest.passed]),
        newest.type,
    ]


def _say_versions(versions: Sequence[Version]) -> None:
    """Print a line for each version of a name."""
    heads = ["version", "aliases", "registered", "by", "from", "size", "digest", "preparation", "report", "note"]
    rows = [version_row(each) for each in versions]
    for line in table(heads, rows, numbers=(0, 5), spare=("by", "size", "digest", "preparation")):
        say_styled(line)


def _say_moves(moved: Sequence[MoveView]) -> None:
    """Print a line for each move of an alias."""
    if moved:
        say("")
        rows: list[list[Cell]] = [
            [each.alias, _number(each.was), _number(each.version), _time(each.at), each.by, _cause(each)]
            for each in moved
        ]
        for line in table(["alias", "from", "to", "moved", "by", "why"], rows, numbers=(1, 2), spare=("by",)):
            say_styled(line)


def _number(version: int | None) -> str:
    return "none" if version is None else str(version)


def _cause(move: MoveView) -> str:
    """Return why an alias was moved: the user's reason, or the task that moved it."""
    return move.why or f"{move.run or ''} {move.task or ''}".strip()


def version_row(version: Version) -> list[Cell]:
    """Return the table cells of a version."""
    made = f"{version.run} {version.task or ''}".rstrip() if version.run else version.origin or ""
    return [
        str(version.version),
        " ".join(map(partial(_alias, version), version.aliases)),
        _time(version.at),
        version.by,
        made,
        bytes_text(version.bytes),
        version.digest[:12],
        _brief(version.preparation or ""),
        (version.verdict, STYLES[version.passed]),
        version.note,
    ]


def _brief(preparation: str) -> str:
    """Return the beginning of a preparation's digest, or the whole name of a function."""
    return preparation if "." in preparation else preparation[:12]


def _alias(version: Version, alias: str) -> str:
    return f"{alias} (forced: {version.forced[alias]})" if alias in version.forced else alias


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"
