"""The numbers and figures of artifacts, found without importing anybody's classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.codec.codecs import Codecs
from headrace.codec.values import Picture
from headrace.inspect.value_summary import figures, numbers
from headrace.spec.artifact import Ref
from headrace.store.folder.folder import FolderStore


@dataclass
class Report:
    auc: float
    name: str
    slices: dict[str, float]
    curve: Picture


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def save(value: object, store: FolderStore) -> Ref:
    return Codecs().save(value, store)


def loader(store: FolderStore) -> object:
    return lambda ref: Codecs().load(ref, store, safe_only=True)


def test_a_dictionary_gives_its_numbers_and_those_of_inner_ones(store: FolderStore) -> None:
    ref = save({"auc": 0.9, "rows": 3, "ok": True, "name": "x", "by": {"EV": 0.1, "deep": {"er": 2}}}, store)
    found = numbers(ref, loader(store))  # type: ignore[arg-type]
    assert found == {"auc": 0.9, "rows": 3, "by.EV": 0.1, "by.deep.er": 2}


def test_a_record_gives_its_numbers_and_figures(store: FolderStore) -> None:
    ref = save(Report(auc=0.8, name="x", slices={"a": 1.5}, curve=Picture(svg="<svg/>")), store)
    load = loader(store)
    assert numbers(ref, load) == {"auc": 0.8, "slices.a": 1.5}  # type: ignore[arg-type]
    assert list(figures(ref, load)) == [("curve", "<svg/>")]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [3, 0.5, [1, 2], "text", None, b"bytes"])
def test_what_has_no_names_gives_none(store: FolderStore, value: object) -> None:
    assert numbers(save(value, store), loader(store)) == {}  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(store: FolderStore) -> None:
    numpy = pytest.importorskip("numpy")
    assert numbers(save({"a": numpy.float64(0.5)}, store), loader(store)) == {"a": 0.5}  # type: ignore[arg-type]
