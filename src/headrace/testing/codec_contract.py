"""A test suite for codecs. To use it, inherit from `CodecContract` in a test module and set `codec` and `values`.

class TestGeometries(CodecContract):
    codec = GeometryCodec()
    values = [Point(1, 2), Polygon(...)]
    library = "shapely"
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from headrace.codec.codec import Codec
from headrace.codec.codecs import Codecs
from headrace.errors import BlobDamaged, CodecError, HeadraceError
from headrace.spec.artifact import INLINE_LIMIT_BYTES, Ref, blobs
from headrace.store.folder.folder import FolderStore


class CodecContract:
    """The test suite for codecs. A subclass must set `codec`, and the `values` that the tests save and load.

    `library` is the name of a library that the codec's method `takes` must not import, or None if there is no such
    library. Set `exact` to false if equal values may have different bytes and the codec gives no content digest.
    Override `same` if `==` can't compare the values. Override `spoil` with a method that tries to change a loaded value
    in place; a test then checks that the stored value stays the same.
    """

    codec: ClassVar[Codec]
    values: ClassVar[Sequence[Any]]
    library: ClassVar[str | None] = None
    exact: ClassVar[bool] = True

    def same(self, given: Any, found: Any) -> bool:
        """Return whether the loaded value `found` equals the saved value `given`."""
        return type(given) is type(found) and bool(given == found)

    def spoil(self, value: Any) -> None:
        """Try to change a loaded value in place. The method may raise an exception. By default, it does nothing."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make pytest run each test that has the parameter `value` once for each of `values`."""
        if "value" in metafunc.fixturenames:
            metafunc.parametrize("value", self.values, ids=lambda each: type(each).__name__)

    def test_the_value_goes_to_this_codec(self, value: Any, tmp_path: Path) -> None:
        assert self.codec.takes(value)
        assert self._save(value, tmp_path).codec == self.codec.name

    def test_the_value_comes_back(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        found = self._load(ref, tmp_path)
        assert self.same(value, found), f"{value!r} became {found!r}"

    def test_the_loaded_value_can_be_saved_again(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        again = self._save(self._load(ref, tmp_path), tmp_path)
        assert self.same(value, self._load(again, tmp_path))
        assert again.type == ref.type

    def test_an_equal_value_is_the_same_artifact(self, value: Any, tmp_path: Path) -> None:
        if self.exact:
            assert self._save(value, tmp_path).identity == self._save(copy.deepcopy(value), tmp_path).identity

    def test_a_small_value_lies_in_its_reference_and_a_big_one_in_the_store(self, value: Any, tmp_path: Path) -> None:
        for ref in _leaves(self._save(value, tmp_path)):
            assert (ref.inline is None) == (ref.size > INLINE_LIMIT_BYTES)
            assert (ref.nonce is None) == (ref.size <= INLINE_LIMIT_BYTES)

    def test_a_blob_cut_short_is_noticed(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        for each in blobs(ref):
            _overwrite(tmp_path, each, lambda data: data[:-1])
            with pytest.raises(HeadraceError) as caught:
                self._load(ref, tmp_path)
            assert caught.value.hint

    def test_a_changed_byte_is_noticed_where_the_digest_is_checked(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        for each in blobs(ref):
            _overwrite(tmp_path, each, lambda data: bytes([data[0] ^ 1]) + data[1:])
            with pytest.raises(BlobDamaged):
                self._load(ref, tmp_path, verify=True)

    def test_bytes_that_are_nonsense_give_an_error_of_ours_or_some_value(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        if ref.inline is not None:
            for data in (b"", ref.inline[: len(ref.inline) // 2], b"\xff" * 64):
                with suppress(HeadraceError):
                    self._load(replace(ref, inline=data, size=len(data)), tmp_path)

    def test_changing_a_loaded_value_leaves_the_store_as_it_was(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        with suppress(Exception):
            self.spoil(self._load(ref, tmp_path))
        store = FolderStore(tmp_path / "store")
        for each in blobs(ref):
            store.verify(each.digest, each.nonce or "")
        assert self.same(value, self._load(ref, tmp_path))

    def test_servers_read_it_if_the_codec_is_safe_and_only_then(self, value: Any, tmp_path: Path) -> None:
        ref = self._save(value, tmp_path)
        if self.codec.safe:
            self._load(ref, tmp_path, safe_only=True)
            return
        with pytest.raises(CodecError) as caught:
            self._load(ref, tmp_path, safe_only=True)
        assert caught.value.hint

    def test_other_values_are_not_taken_and_nothing_is_imported_to_find_out(self) -> None:
        if self.library is None:
            return
        kind = type(self.codec)
        code = (
            f"import sys; from {kind.__module__} import {kind.__qualname__} as made; "
            f"assert not any(made().takes(each) for each in (None, 1, 'x', b'', [1], {{'a': 1}}, object())); "
            f"assert {self.library!r} not in sys.modules, 'it was imported'"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _save(self, value: Any, folder: Path) -> Ref:
        return Codecs([self.codec]).save(value, FolderStore(folder / "store"))

    def _load(self, ref: Ref, folder: Path, *, verify: bool = False, safe_only: bool = False) -> Any:
        store = FolderStore(folder / "store")
        return Codecs([self.codec]).load(ref, store, verify=verify, safe_only=safe_only, scratch=folder / "scratch")


def _leaves(ref: Ref) -> list[Ref]:
    if ref.parts is None:
        return [ref]
    return [leaf for part in ref.parts for leaf in _leaves(part)]


def _overwrite(folder: Path, ref: Ref, change: Any) -> None:
    """Replace the file of a blob by a new file with changed bytes. Memory maps still show the bytes of the old file."""
    path = FolderStore(folder / "store").path(ref.digest, ref.nonce or "")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(change(data))
