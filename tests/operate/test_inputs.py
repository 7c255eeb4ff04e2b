"""Files that pipelines name, kept by the driver."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from headrace.operate.input_files import MEMORY, Inputs, keep_path, marks_of
from headrace.project.project import Project
from headrace.store.folder.folder import FolderStore


def test_a_file_that_an_older_release_remembered_by_another_name_is_kept_anew(tmp_path: Path) -> None:
    project = Project(root=tmp_path, home=tmp_path / "home", files=())
    store = FolderStore(tmp_path / "home" / "store")
    file = tmp_path / "notes.txt"
    file.write_text("a note")
    os.utime(file, (0, 0))
    first = keep_path(project, "local", store, "file", "notes.txt")
    assert keep_path(project, "local", store, "file", "notes.txt") == first
    memory = Inputs(project.home / MEMORY, store)
    memory.remember(file, marks_of(file), replace(first, type="headrace.codec.file.File"))
    again = keep_path(project, "local", store, "file", "notes.txt")
    assert (again.type, again.digest) == ("headrace.File", first.digest)
