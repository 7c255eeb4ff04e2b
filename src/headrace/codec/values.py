"""Headrace's own classes of values: files, folders, pictures. All user code imports this module, so the module itself
imports little."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.spec.noun import Noun


@dataclass(frozen=True, slots=True, init=False)
class File(os.PathLike[str]):
    """A file as a value: its bytes and its name. A file is passed from stage to stage without being read into memory.

    A stage that returns a file gives a path that it wrote (`File("model.gguf")`); the file is copied into the store
    when the stage ends. A stage that takes a file gets a read-only path with the same name, valid while the stage runs.
    `File` can be used wherever a path is expected: `open(file)`, `pandas.read_csv(file)`.
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path).absolute())

    @property
    def name(self) -> str:
        """The file's name with its suffix."""
        return self.path.name

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, init=False)
class Folder(os.PathLike[str]):
    """A folder as a value: the files in it and their relative names. Empty folders and the modes of files are not kept.

    A folder is passed on like a `File`: it is copied into the store when the stage ends, and the stage that takes it
    can only read it. If two versions of a folder contain equal files, these are stored twice at first, and merged later
    by the garbage collector.
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path).absolute())

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def files(self) -> Iterator[Path]:
        """Yield the paths of all files inside, sorted by folder and name."""
        for folder, folders, names in os.walk(self.path, followlinks=True):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


class Picture(Noun, frozen=True):
    """A drawing as SVG. Notebooks and pages show it as an image, so scripts in the SVG don't run."""

    svg: str

    def __repr__(self) -> str:
        return f"<picture of {len(self.svg)} characters of SVG>"

    def _repr_html_(self) -> str:
        return f'<img src="data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}">'
