"""Files and folders go from stage to stage with their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.codec.values import File, Folder
from headrace.errors import CodecError
from headrace.store.folder.folder import FolderStore


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "empty").touch()
    (folder / "deep" / "er" / "weights.bin").write_bytes(bytes(10_000))
    (folder / "deep" / "link").symlink_to(folder / "config.json")
    return folder


@pytest.mark.parametrize("size", [0, 10, 5000, 1 << 20])
def test_a_file_comes_back_under_its_name(size: int, round_trip: Callable[[object], Any], tmp_path: Path) -> None:
    path = tmp_path / "model v1.gguf"
    path.write_bytes(b"x" * size)
    found = round_trip(File(path))
    assert type(found) is File
    assert found.name == "model v1.gguf"
    assert found.path != path
    assert Path(found).read_bytes() == b"x" * size


def test_what_the_stage_does_to_its_file_afterwards_changes_nothing(
    codecs: Codecs, store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "log.txt"
    path.write_text("x" * 5000)
    ref = codecs.save(File(path), store)
    path.write_text("other")
    found = codecs.load(ref, store, scratch=tmp_path / "scratch")
    assert Path(found).read_text() == "x" * 5000  # type: ignore[arg-type]


def test_equal_bytes_under_another_name_are_another_artifact(
    codecs: Codecs, store: FolderStore, tmp_path: Path
) -> None:
    refs = []
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("same")
        refs.append(codecs.save(File(tmp_path / name), store))
        assert codecs.save(File(tmp_path / name), store).identity == refs[-1].identity
    assert refs[0].identity != refs[1].identity


def test_a_loaded_file_is_read_only(round_trip: Callable[[object], Any], tmp_path: Path) -> None:
    for size in (10, 10_000):
        (tmp_path / "file").write_bytes(b"x" * size)
        found = round_trip(File(tmp_path / "file"))
        assert not os.stat(found).st_mode & 0o222


def test_a_relative_path_is_fixed_when_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = File("here.txt")
    monkeypatch.chdir("/")
    assert file.path == tmp_path / "here.txt"
    assert str(file) == str(tmp_path / "here.txt"), "libraries that want a text get the path"
    assert f"{Folder(tmp_path)}/x" == f"{tmp_path}/x"


def test_a_folder_comes_back_with_all_that_is_in_it(round_trip: Callable[[object], Any], tree: Path) -> None:
    found = round_trip(Folder(tree))
    assert type(found) is Folder
    assert [each.relative_to(found.path).as_posix() for each in found.files()] == [
        "config.json", "empty", "deep/link", "deep/er/weights.bin",
    ]  # fmt: skip
    assert (found / "deep" / "er" / "weights.bin").read_bytes() == bytes(10_000)
    assert (found / "deep" / "link").read_text() == "{}"


def test_one_file_of_a_folder_is_read_without_the_rest(codecs: Codecs, store: FolderStore, tree: Path) -> None:
    ref = codecs.save(Folder(tree), store)
    assert ref.names is not None
    assert ref.parts is not None
    assert codecs.load(ref.parts[ref.names.index("config.json")], store) == b"{}"


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../evil", "", "a//b", ".", "nul\0"])
def test_a_forged_name_does_not_leave_the_folder(name: str, codecs: Codecs, store: FolderStore, tree: Path) -> None:
    ref = codecs.save(Folder(tree), store)
    forged = replace(ref, names=(name,), parts=(ref.parts or ())[:1])
    with pytest.raises(CodecError, match="not a name for a file"):
        codecs.load(forged, store)


def test_what_is_no_file_is_said(codecs: Codecs, store: FolderStore, tree: Path) -> None:
    with pytest.raises(CodecError, match="not a file"):
        codecs.save(File(tree / "absent"), store)
    with pytest.raises(CodecError, match="not a folder"):
        codecs.save(Folder(tree / "absent"), store)
    os.mkfifo(tree / "pipe")
    with pytest.raises(CodecError, match="not a file"):
        codecs.save(Folder(tree), store)


def test_files_without_a_scratch_last_as_long_as_the_process(codecs: Codecs, store: FolderStore, tree: Path) -> None:
    found = codecs.load(codecs.save(File(tree / "config.json"), store), store)
    assert isinstance(found, File)
    assert found.path.read_text() == "{}"
