"""What an explanation says of the inputs of a task."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import headrace as hr
from headrace.codec.codecs import Codecs
from headrace.inspect.explain import _value
from headrace.inspect.metrics.metrics import loader
from headrace.store.folder.folder import FolderStore


class Read(NamedTuple):
    """What has the names of what `ingest.files` keeps in its cursor."""

    files: dict[str, str]
    schema: str


READ = Read({f"part-{n}.csv": "a" * 40 for n in range(3)}, "n: int64")


def test_only_a_cursor_says_how_far_its_source_was_read_and_both_keep_their_lines(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    own = _value(Codecs().save({"value": READ}, store), loader(store), "0123")
    assert own.brief == "0123"
    assert '    "schema": "n: int64"' in own.lines
    cursor = _value(Codecs().save(hr.Cursor("feed", 1, READ), store), loader(store), "0123")
    assert cursor.brief == "3 files (0123)"
    assert '    "schema": "n: int64"' in cursor.lines
