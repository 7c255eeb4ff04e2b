"""The lines of a stage's code in a run's bundle, and what changed between two versions of these lines."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import msgspec

from headrace.spec.bundle import Bundle
from headrace.spec.code import Part
from headrace.spec.noun import UNREADABLE
from headrace.store.store import Store
from headrace.work.archive import files_of
from headrace.work.notebook import CELLS

DIFF_LINES = 40


def sources(store: Store, bundle: Bundle | None) -> Mapping[str, bytes]:
    """Return the source files of a bundle and the cells of its notebook, or none if the bundle is gone."""
    if bundle is None or store.size(bundle.digest, bundle.nonce) is None:
        return {}
    files = files_of(store.path(bundle.digest, bundle.nonce, verify=True).read_bytes())
    try:
        cells = msgspec.json.decode(files.get(CELLS, b"{}"), type=dict[str, str])
    except UNREADABLE:  # a file of this name that isn't ours
        return files
    return {**files, **{cell: text.encode() for cell, text in cells.items()}}


def lines_of(files: Mapping[str, bytes], part: Part | None) -> list[str]:
    """Return the lines of a part of the code, or none if its place in the bundle is unknown."""
    if part is None or part.where is None:
        return []
    path, _, span = part.where.rpartition(":")
    first, _, last = span.partition("-")
    if path not in files or not first.isdecimal():
        return []
    return files[path].decode(errors="replace").splitlines()[int(first) - 1 : int(last or first)]


def changed_lines(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return what changed as a unified diff without its head, cut off after 40 lines."""
    lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"... {len(lines) - DIFF_LINES} more lines"]
    return lines
