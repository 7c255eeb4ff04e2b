"""What attempts printed, kept where other machines can read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import StoreError
from headrace.spec.address import StoreAddress
from headrace.store.folder.folder import FolderStore
from headrace.store.folder.logs import PIECE_BYTES
from headrace.store.open_store import open_store
from headrace.store.store import Store


@pytest.fixture(params=["folder", "bucket"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Store]:
    """Open one store, as this machine and as another sees it."""
    address = StoreAddress(url=str(tmp_path / "shared"))
    if request.param == "bucket":
        address = request.getfixturevalue("address")
    return lambda machine: open_store(address, local=tmp_path / machine)


def test_what_was_printed_on_one_machine_is_read_on_another(opens: Callable[[str], Store]) -> None:
    there, here = opens("there").logs, opens("here").logs
    long = b"x" * PIECE_BYTES + b"end"
    there.keep("run", "1-77", 5, [b"hello"])
    there.keep("run", "1-77", 10, [long[:PIECE_BYTES], long[PIECE_BYTES:]])
    assert b"".join(here.read("run", "1-77", 5, 10)) == b"hello"
    assert b"".join(here.read("run", "1-77", 10, 10 + len(long))) == long
    assert list(here.read("run", "2-78", 0, 5)) == []
    assert list(here.read("other", "1-77", 5, 10)) == []
    here.forget("run")
    here.forget("run")
    assert list(there.read("run", "1-77", 5, 10)) == []


def test_a_worker_that_writes_its_log_into_the_store_s_folder_has_nothing_to_copy(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.logs.keep("run", "1-77", 0, [b"hello"])
    assert not (tmp_path / "logs").exists()


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    logs = FolderStore(tmp_path / "store", local=tmp_path / "local").logs
    logs.keep("run", "1-2", 0, [b"told"])
    kept = tmp_path / "store" / "logs" / "run" / "1-2"
    kept.unlink()
    kept.mkdir()  # whoever runs the tests may read any file
    with pytest.raises(StoreError, match="1-2` can't be read: Is a directory"):
        list(logs.read("run", "1-2", 0, 4))
