"""How far a ready-made stage has read its source, found from the value of its cursor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from headrace.spec.artifact import Ref

HELD = "headrace.stages.ingest.Held"


def reached(ref: Ref, load: Callable[[Ref], object]) -> str | None:
    """Return in words how far a source has been read, such as `3 files`.

    Return None if the value was not set by a stage of this package, or no longer exists. Only small parts of the value
    are loaded, not the rows.
    """
    parts = dict(zip(ref.names or (), ref.parts or (), strict=True))
    if ref.type == HELD:
        return _of_rows(parts, load)
    match set(parts):
        case names if names == {"files", "schema"}:
            files = load(parts["files"])
            return _count(len(files), "file") if isinstance(files, Mapping) else None
        case names if names == {"paths", "stamps", "rows"}:
            paths = load(parts["paths"])
            return _count(len(paths), "file") if isinstance(paths, list) else None
        case names if names == {"known", "rows", "quarantine"}:
            known = load(parts["known"])
            return _count(len(json.loads(known)), "log") if isinstance(known, str) else None
        case _:
            return None


def _of_rows(parts: Mapping[str, Ref], load: Callable[[Ref], object]) -> str | None:
    """Return the watermark up to which the rows of a database were read, or `a snapshot` for a snapshot."""
    asked = parts.get("asked")
    if asked is None:
        return None
    question = dict(zip(asked.names or (), asked.parts or (), strict=True))
    watermark = load(question["watermark"]) if "watermark" in question else None
    if watermark is None:
        return "a snapshot" if load(parts["reached"]) is None else None
    at = load(parts["reached"])
    return None if at is None else f"{watermark} <= {at}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
