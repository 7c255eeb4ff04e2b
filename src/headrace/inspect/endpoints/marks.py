"""Counts the hashed values of tables by the secret that hashed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import TEXTS
from headrace.inspect.endpoints.redaction import hasher_of
from headrace.inspect.endpoints.unread import COLUMNS, requests
from headrace.inspect.views import Views
from headrace.models.types import is_text, plain_type
from headrace.project.project import Project
from headrace.project.state import reading_store
from headrace.serve.predictions.redaction import MARKED, PREFIX
from headrace.spec.artifact import decode_ref

_FIRST = COLUMNS[0]


def marks_in(table: pa.Table, columns: Collection[str]) -> Counter[str]:
    """Return how many rows of a table have a hashed value in one of the columns or fields `columns`, by the mark of the
    secret. Rows of a log that are JSON texts count if any field has a hashed value. Requests of a log that couldn't be
    read when they were sealed count too, if they can be read now."""
    found = _marks(table, columns)
    for request in requests(table) if _may_be_log(table) else ():
        content = request.content() if request.column == _FIRST else None
        if isinstance(content, pa.Table):
            found += _marks(content, columns)
        for record in content if isinstance(content, list) else ():
            found.update(set(MARKED.findall(bytes(record).decode("utf-8", "replace"))))
    return found


def others(marks: Counter[str], own: str | None) -> int:
    """Return how many values other secrets hashed than the one with the mark `own`."""
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


def _may_be_log(table: pa.Table) -> bool:
    names = table.column_names
    is_clear = {"id", _FIRST} <= set(names) and len(names) == len(set(names))
    return is_clear and is_text(table.column("id").type)


def _marks(table: pa.Table, columns: Collection[str]) -> Counter[str]:
    found = Counter[str]()
    for name, column in zip(table.column_names, table.columns, strict=True):
        for values in _texts(name, column, columns):
            for each in values.filter(pc.match_substring(values, PREFIX)).value_counts():
                text = bytes(each["values"].as_buffer()).decode("utf-8", "replace")
                for mark in set(MARKED.findall(text)):
                    found[mark] += each["counts"].as_py()
    return found


def _texts(name: str, values: pa.ChunkedArray, columns: Collection[str]) -> Iterator[pa.ChunkedArray]:
    """Yield the columns of texts, and the fields of texts, that may have hashed values."""
    if is_text(plain_type(values.type)):
        if name in columns or name in TEXTS:
            yield _plain(values)
    elif pa.types.is_struct(values.type):
        for place, field in enumerate(values.type):
            if field.name in columns and is_text(plain_type(field.type)):
                yield _plain(pc.struct_field(values, [place]))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    is_plain = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    return values if is_plain else values.cast(pa.large_string())
