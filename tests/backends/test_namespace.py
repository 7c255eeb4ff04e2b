"""What a command sees and can write to in a namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headrace.backends.processes.namespace import Namespace, works

pytestmark = pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")


def test_of_two_folders_one_inside_the_other_each_is_as_it_was_declared(tmp_path: Path) -> None:
    outer, inner, hidden = tmp_path / "outer", tmp_path / "outer" / "inner", tmp_path / "outer" / "hidden"
    for folder in (outer, inner, hidden):
        folder.mkdir()
        (folder / "file").touch()

    def left(namespace: Namespace) -> list[str]:
        """Have a command in the namespace try to remove the three files; return which are left."""
        words = ["rm", "-f", *(f"{folder}/file" for folder in (outer, inner, hidden))]
        subprocess.run([*namespace.command(), *words], check=False, capture_output=True)
        return [folder.name for folder in (outer, inner, hidden) if (folder / "file").exists()]

    assert left(Namespace(readable=(outer,), hidden=(hidden,))) == ["outer", "inner", "hidden"]
    assert left(Namespace(readable=(outer,), hidden=(hidden,), shown=(inner,))) == ["outer", "hidden"]
    assert left(Namespace(readable=(outer,), shown=(outer,), hidden=(hidden,))) == ["hidden"]
