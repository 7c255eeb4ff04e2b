"""Makes the bundle of a run: the project's source files as they are now, in one archive, in the store."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from headrace.app.editable import editable_roots
from headrace.app.project import Project
from headrace.errors import ProjectError
from headrace.spec.bundle import Bundle
from headrace.store.folder import FolderStore
from headrace.work.archive import pack

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_CODE = (".py", ".pyi", ".ipynb", ".sql")
_SETTINGS = (".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".md")
_PAGES = (".jinja", ".j2", ".tmpl", ".template", ".html", ".css", ".js")
SUFFIXES = frozenset((*_CODE, *_SETTINGS, *_PAGES))
FILE_LIMIT_BYTES = 1 << 20
BUNDLE_LIMIT_BYTES = 64 << 20
LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "requirements.lock", "requirements.txt")
EDITABLE = "_editable"
"""The folder of a bundle that holds the code of editable installs, each under its distribution's name."""
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))


def make_bundle(project: Project, store: FolderStore) -> Bundle:
    """Keep the project's source files as they are now.

    They are those that `.gitignore` and `.headraceignore` leave, and that look like source: no data, nothing hidden, no
    environments. The code of editable installs is the project's own too.

    Raises:
        ProjectError: they are too large together; the message names the largest.
    """
    files = {**dict(source_files(project.root)), **project.extra}
    editable = [(f"{EDITABLE}/{name}", folder) for name, folder in editable_roots() if not _holds(project.root, folder)]
    for inside, folder in editable:
        files |= {f"{inside}/{name}": data for name, data in source_files(folder)}
    total = sum(len(data) for data in files.values())
    if total > BUNDLE_LIMIT_BYTES:
        largest = sorted(files, key=lambda name: -len(files[name]))[:3]
        told = ", ".join(f"`{name}` ({len(files[name]) / 2**20:.1f} MiB)" for name in largest)
        raise ProjectError(
            f"the project's source files are {total / 2**20:.0f} MiB, more than {BUNDLE_LIMIT_BYTES >> 20}: {told}",
            hint="list what is no source in `.headraceignore`, which has the form of `.gitignore`",
        )
    for file in project.files:
        name = _inside(file, project.root)
        if name not in files:
            files[name] = file.read_bytes()
    blob = store.put(pack(files))
    lock = next((files[name] for name in LOCKS if name in files), None)
    return Bundle(
        digest=blob.digest,
        size=blob.size,
        nonce=blob.nonce,
        roots=(*_roots(project, files), *(inside for inside, _ in editable)),
        lock=None if lock is None else blake3(lock).hexdigest(),
        platform=f"{sys.platform}-{platform.machine()}",
    )


def source_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Give the source files below a folder: their path (POSIX, relative) and bytes."""
    rest: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [("", [])]
    while rest:
        folder, specs = rest.pop()
        here = root / folder if folder else root
        specs = [*specs, *_ignore(here, folder)]
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise ProjectError(f"can't read `{here}`: {error.strerror}", hint="give its folder rights") from None
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                environment = os.path.exists(f"{entry.path}/pyvenv.cfg")
                if not environment and not _ignored(f"{path}/", specs):
                    rest.append((path, specs))
            elif _is_source(entry) and not _ignored(path, specs):
                yield path, Path(entry.path).read_bytes()


def _is_source(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1]
    return (suffix in SUFFIXES or entry.name in LOCKS) and entry.is_file() and entry.stat().st_size <= FILE_LIMIT_BYTES


def _ignore(folder: Path, inside: str) -> Iterator[tuple[str, GitIgnoreSpec]]:
    for name in (".gitignore", ".headraceignore"):
        try:
            lines = (folder / name).read_text().splitlines()
        except OSError:
            continue
        from pathspec import GitIgnoreSpec  # noqa: PLC0415  10 ms that a folder without such a file doesn't need

        yield inside, GitIgnoreSpec.from_lines(lines)


def _ignored(path: str, specs: list[tuple[str, GitIgnoreSpec]]) -> bool:
    return any(spec.match_file(path[len(base) + 1 :] if base else path) for base, spec in specs)


def _roots(project: Project, files: dict[str, bytes]) -> Iterator[str]:
    """Give the folders of the bundle that go on the import path: as Python itself would have it for these files."""
    yield "."
    if any(name.startswith("src/") for name in files):
        yield "src"
    seen = {".", "src"}
    for file in project.files:
        folder = os.path.dirname(_inside(file, project.root)) or "."
        if folder not in seen and f"{folder}/__init__.py" not in files:
            seen.add(folder)
            yield folder


def _holds(root: Path, folder: Path) -> bool:
    return folder.resolve().is_relative_to(root.resolve())


def _inside(file: Path, root: Path) -> str:
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ProjectError(
            f"`{file}` is outside the project's folder `{root}`",
            hint="move it there: a bundle holds the project's files",
        ) from None


def names_of(project: Project) -> tuple[str, ...]:
    """Give the files that may define pipelines, as the bundle names them."""
    return tuple(_inside(file, project.root) for file in project.files)
