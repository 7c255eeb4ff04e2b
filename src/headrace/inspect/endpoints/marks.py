"""Counts the hashed values of tables by the secret that hashed them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

import pyarrow as pa

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import Mask, Sought, rows_about, rows_in
from headrace.inspect.endpoints.redaction import hasher_of
from headrace.inspect.endpoints.unread import COLUMNS, bare, requests
from headrace.inspect.views import Views
from headrace.models.types import is_text
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.serve.predictions.part import UNREAD
from headrace.serve.predictions.redaction import MARKED, PREFIX
from headrace.spec.artifact import decode_ref

_SIGN = re.compile(b"|".join(re.escape(word.encode()) for word in (PREFIX, UNREAD)))
_PACKED = ("dictionary<", "extension<", UNREAD)
"""If the schema of a table has one of these words, hashed values may be where `_may_have_some` doesn't look."""


def marks_in(table: pa.Table, columns: Collection[str]) -> Counter[str]:
    """Return how many rows of a table have a hashed value in one of the columns or fields `columns`, by the mark of the
    secret. All places are searched in which `rows_about` finds a person. Requests of a log that couldn't be read when
    they were sealed count too, if they can be read now."""
    if not _may_have_some(table):
        return Counter()
    every = _Hashed(columns)
    _rows(table, every)
    return +Counter({mark: int(_rows(table, _Hashed(columns, mark)).sum()) for mark in every.marks})


def others(marks: Counter[str], own: str | None) -> int:
    """Return how many rows have values that other secrets hashed than the one with the mark `own`."""
    return sum(count for mark, count in marks.items() if mark != own)


def of_other_secrets(project: Project, views: Views, endpoints: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each endpoint that hashes columns now and whose newest part of the log has values that were
    hashed with another secret. A server would go on, and its values would join with none of these.

    Raises:
        ConfigError: the secret isn't set.
    """
    for endpoint in endpoints:
        settings = project.config.of_endpoint(endpoint)
        hasher = hasher_of(settings) if settings.hash and settings.log != "off" else None
        if hasher is None:
            continue
        if (row := views.newest_prediction_part(endpoint)) is not None:
            with suppress(HeadraceError):  # whoever needs the part says why it can't be read
                table = Codecs().load(decode_ref(row.out), reading_store(project))
                if isinstance(table, pa.Table) and others(marks_in(table, settings.hash), hasher.mark):
                    yield (
                        f"the newest predictions of endpoint `{endpoint}` in the log were hashed with another secret"
                        " than the present one. Labels by key and `headrace erase` need that secret to find people in"
                        " them: unless you replaced it on purpose, stop the server and give it that secret"
                    )


class _Hashed:
    """Values that the secret with the mark `mark` hashed. Without `mark`, no value is sought, and `marks` gets the
    marks of all values."""

    def __init__(self, columns: Collection[str], mark: str | None = None) -> None:
        self.columns = columns
        self.marks = set[str]()
        self._mark = mark

    def is_about(self, text: str) -> bool:
        found = MARKED.match(text)
        if found is None:
            return False
        self.marks.add(found[1])
        return found[1] == self._mark


def _rows(table: pa.Table, sought: Sought) -> Mask:
    unread = requests(table) if _may_be_log(table) else []
    mask = rows_about(bare(table) if unread else table, sought)
    for request in unread:
        if (found := rows_in(request, sought)) is not None:
            mask[request.first : request.end] |= found
    return mask


def _may_have_some(table: pa.Table) -> bool:
    """Return whether a table may have hashed values. This is much faster than a search, and most tables have none."""
    if any(word in table.schema.to_string(show_field_metadata=False) for word in _PACKED):
        return True
    buffers = (each for column in table.columns for chunk in column.chunks for each in chunk.buffers())
    return any(_SIGN.search(each) for each in buffers if each is not None)


def _may_be_log(table: pa.Table) -> bool:
    names = table.column_names
    is_clear = {"id", COLUMNS[0]} <= set(names) and len(names) == len(set(names))
    return is_clear and is_text(table.column("id").type)
