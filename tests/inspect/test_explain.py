"""What an explanation says of the inputs of a task."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import msgspec
import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import headrace as hr
from headrace.codec.codecs import Codecs
from headrace.inspect.explain import _changed, _value
from headrace.inspect.metrics.metrics import loader
from headrace.inspect.value_text import value_text
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


def test_an_estimator_is_its_class_with_its_parameters(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    one, other = (
        _value(
            Codecs().save(make_pipeline(SimpleImputer(missing_values=np.nan), LogisticRegression(C=c)), store),
            loader(store),
            "0123",
        )
        for c in (1.0, 2.5)
    )
    assert [line.split() for line in _changed(one, other) if line[0] in "-+"] == [
        ["-", '"C":', "1.0,"],
        ["+", '"C":', "2.5,"],
    ]


def _archive(schema: str, name: str = "schema.json") -> bytes:
    made = BytesIO()
    with ZipFile(made, "w") as archive:
        archive.writestr(name, schema)
    return made.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"no archive",
        _archive("{}", "other.json"),
        _archive("{"),
        _archive("[" * 50_000),
        _archive('{"__loader__": "JsonNode", "content": "\\u001b[2J"}'),
        _archive("{}").replace(b"{}", b"[]"),
    ],
    ids=["no archive", "no schema", "half a schema", "deep", "no JSON", "damaged"],
)
def test_what_only_calls_itself_an_estimator_is_not_shown(data: bytes, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    ref = msgspec.structs.replace(Codecs().save(data, store), codec="skops", type="sklearn.svm.SVC")
    assert value_text(ref, loader(store)) is None
