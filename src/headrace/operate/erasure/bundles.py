"""Finds a person in the source files of runs (their bundles). The files are code, so they are named, but not erased."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from headrace.errors import HeadraceError
from headrace.report.measures import count_text
from headrace.spec.artifact import Ref
from headrace.store.store import Store
from headrace.work.archive import files_of


def files_with(
    key: str, bundles: Iterable[tuple[Ref, str]], store: Store, beat: Callable[[], None]
) -> tuple[list[str], list[str]]:
    """Return two lists of texts. The first says which files of which bundles have the text `key` as a word, the second
    which bundles can't be read, and why. `bundles` has pairs of a bundle's archive and a run that has this bundle; the
    newest run comes last. `beat` is called once for each archive."""
    archives, runs = dict[str, list[Ref]](), dict[str, list[str]]()
    for ref, run in bundles:
        archives.setdefault(ref.digest, []).append(ref)
        runs.setdefault(ref.digest, []).append(run)
    texts = {key, json.dumps(key)[1:-1]}  # the second is how files of JSON, and notebooks, may write it
    word = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(texts)))})(?!\w)")
    found, unread = dict[str, list[str]](), list[str]()
    for digest, refs in archives.items():
        beat()
        try:
            for name in _names(word, refs, store):
                found.setdefault(name, []).extend(runs[digest])
        except HeadraceError as error:
            unread.append(f"the source files of run `{runs[digest][-1]}`: {error.message}")
    return [f"`{name}` in the source files of {_told(every)}" for name, every in sorted(found.items())], unread


def _names(word: re.Pattern[str], refs: list[Ref], store: Store) -> Iterator[str]:
    last: HeadraceError | None = None
    for ref in refs:
        try:
            files = files_of(store.path(ref.digest, ref.nonce or "", verify=True).read_bytes())
        except HeadraceError as error:
            last = error
            continue
        for name, data in files.items():
            if word.search(data.decode("utf-8", "replace")):
                yield name
        return
    if last is not None:
        raise last


def _told(runs: list[str]) -> str:
    every = list(dict.fromkeys(runs))
    more = f" and of {count_text(len(every) - 1, 'other run')}" if len(every) > 1 else ""
    return f"run `{every[-1]}`{more}"
