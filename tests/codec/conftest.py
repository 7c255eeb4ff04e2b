"""A store and codecs for the tests of single values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def codecs() -> Codecs:
    return Codecs()


@pytest.fixture
def round_trip(codecs: Codecs, store: FolderStore, tmp_path: Path) -> Callable[[object], Any]:
    """Save a value, check its bytes against their digests, and load it."""
    return lambda value: codecs.load(
        codecs.save(value, store), store, verify=True, safe_only=False, scratch=tmp_path / "scratch"
    )
