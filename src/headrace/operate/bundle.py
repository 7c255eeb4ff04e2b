"""The bundle of a run: an archive of the project's source files as they are now, put into the store."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import ProjectError, StoreError, UsageError
from headrace.inspect.history import rows_past
from headrace.project.editable import editable_roots
from headrace.project.project import Project
from headrace.project.state import views
from headrace.run.events import Event, Opened
from headrace.spec.bundle import SUFFIXES, Bundle
from headrace.store.store import Store
from headrace.work.archive import files_of, pack
from headrace.work.environments.lock import LOCKS, find_lock, lock_digest, lock_texts
from headrace.work.notebook import NOTEBOOK

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FILE_LIMIT_BYTES = 1 << 20
BUNDLE_LIMIT_BYTES = 64 << 20
LARGEST = 3
LOCK_LIMIT_BYTES = 16 << 20
"""The largest size of a lock file, in bytes. It is above the limit for other source files, because large projects have
large lock files."""
EDITABLE = "_editable"
"""The folder of a bundle that holds the code of editable installs. In it, each install has a folder with its
distribution's name."""
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))


def make_bundle(project: Project, store: Store) -> Bundle:
    """Put an archive of the project's source files into the store, and return the bundle that names it.

    Source files are found by their suffix. Hidden files, environments, and files listed in `.gitignore` or
    `.headraceignore` are left out. The code of editable installs is included.

    Raises:
        ProjectError: the files are too large together (the message names the largest), a file can't be read, or a
            file's name isn't UTF-8.
        ConfigError: a file that the settings name isn't there.
    """
    project.check_files()
    files = {**dict(source_files(project.root)), **project.extra}
    installed = [*editable_roots()]
    members = [_inside(folder, project.root) for _, folder in installed if _holds(project.root, folder)]
    editable = [(f"{EDITABLE}/{name}", folder) for name, folder in installed if not _holds(project.root, folder)]
    for inside, folder in editable:
        files |= {f"{inside}/{name}": data for name, data in source_files(folder)}
    total = sum(len(data) for data in files.values())
    if total > BUNDLE_LIMIT_BYTES:
        raise ProjectError(
            f"the project's source files are {total / 2**20:.0f} MiB, more than {BUNDLE_LIMIT_BYTES >> 20}:"
            f" {', '.join(_largest(files))}",
            hint="list files that aren't source code in `.headraceignore`, which works like `.gitignore`",
        )
    for file in project.files:
        name = _inside(file, project.root)
        if name not in files:
            _check_name(name, project.root)
            files[name] = file.read_bytes()
    blob = store.put(pack(files))
    lock = find_lock(files.get, None)
    return Bundle(
        digest=blob.digest,
        size=blob.size,
        nonce=blob.nonce,
        roots=tuple(dict.fromkeys([*_roots(project, files), *members, *(inside for inside, _ in editable)])),
        lock=None if lock is None else lock_digest(lock_texts(files.get, lock)),
        platform=f"{sys.platform}-{platform.machine()}",
    )


def is_of_notebook(opened: Event | None) -> bool:
    """Return whether the pipeline of a run is defined in a notebook. `opened` is the run's first event."""
    return isinstance(opened, Opened) and NOTEBOOK in opened.files


def check_renewable(project: Project, run_id: str, opened: Event | None) -> None:
    """Check that the present code of a run's pipeline is in the project's files. `opened` is the run's first event.

    Raises:
        UsageError: the pipeline is defined in a notebook, and only the notebook has its present code.
    """
    if is_of_notebook(opened):
        with views(project) as found:
            past = rows_past(found, run_id)
        again = "run the pipeline again in the notebook; results that are still right are reused"
        raise UsageError(
            f"the pipeline of run `{run_id}` is defined in a notebook, so `--new-code` can't find its present code",
            hint=f"{again}. {past}" if past else again,
        )


def changed_files(project: Project, bundle: Bundle, store: Store) -> list[str]:
    """Return the names of the bundle's files whose content in the project has changed since the bundle was made.

    Files that are new, deleted or unreadable aren't listed.
    """
    try:
        then = files_of(store.path(bundle.digest, bundle.nonce, verify=True).read_bytes())
    except (OSError, StoreError):
        return []  # the code that runs the bundle reports this error
    return [name for name, data in then.items() if _differs(project, name, data)]


def _differs(project: Project, name: str, data: bytes) -> bool:
    if name in project.extra:
        return project.extra[name] != data
    path = project.root / name
    with suppress(OSError):
        return path.is_file() and (path.stat().st_size != len(data) or path.read_bytes() != data)
    return False


def _largest(files: Mapping[str, bytes]) -> list[str]:
    """Return the three largest folders and top-level files, each with its size, as text."""
    sizes: dict[str, list[int]] = {}
    for name, data in files.items():
        folder, _, rest = name.rpartition("/")
        sizes.setdefault(f"{folder}/" if rest and folder else name, []).append(len(data))
    first = sorted(sizes, key=lambda name: -sum(sizes[name]))[:LARGEST]
    return [
        f"`{name}` ({sum(sizes[name]) / 2**20:.1f} MiB{f' in {len(sizes[name])} files' if name.endswith('/') else ''})"
        for name in first
    ]


def source_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the path (POSIX, relative to `root`) and the bytes of each source file below a folder.

    Raises:
        ProjectError: a file or folder can't be read, or a file's name isn't UTF-8.
    """
    rest: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [("", [])]
    while rest:
        folder, specs = rest.pop()
        here = root / folder if folder else root
        specs = [*specs, *_ignore(here, folder)]
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise ProjectError(f"can't read `{here}`: {error.strerror}", hint="make this folder readable") from None
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                environment = os.path.exists(f"{entry.path}/pyvenv.cfg")
                if not environment and not _ignored(f"{path}/", specs):
                    rest.append((path, specs))
            elif _may_be_source(entry.name) and not _ignored(path, specs) and (data := _source(entry)) is not None:
                _check_name(path, root)
                yield path, data


def _may_be_source(name: str) -> bool:
    return os.path.splitext(name)[1] in SUFFIXES or name in LOCKS


def _check_name(path: str, root: Path) -> None:
    """Raise an error if a path isn't UTF-8: a bundle can't name such a file.

    Raises:
        ProjectError: the path isn't UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise ProjectError(
            f"the name of `{shown}`, in `{root}`, is not UTF-8, so it can't be kept with the run's code",
            hint="rename it, or list it in `.gitignore` or `.headraceignore` (with `?` for the odd bytes)",
        ) from None


def _source(entry: os.DirEntry[str]) -> bytes | None:
    """Return the bytes of a file; None if it isn't a regular file, is too large, or was deleted meanwhile.

    Raises:
        ProjectError: the file can't be read.
    """
    limit = LOCK_LIMIT_BYTES if entry.name in LOCKS else FILE_LIMIT_BYTES
    try:
        if not entry.is_file() or entry.stat().st_size > limit:
            return None
        return Path(entry.path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        hint = "make it readable, or name it in `.headraceignore`"
        raise ProjectError(f"can't read `{entry.path}`: {error.strerror}", hint=hint) from None


def _ignore(folder: Path, inside: str) -> Iterator[tuple[str, GitIgnoreSpec]]:
    for name in (".gitignore", ".headraceignore"):
        try:
            lines = (folder / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            continue
        from pathspec import GitIgnoreSpec  # noqa: PLC0415  10 ms that a folder without such a file doesn't need

        yield inside, GitIgnoreSpec.from_lines(lines)


def _ignored(path: str, specs: list[tuple[str, GitIgnoreSpec]]) -> bool:
    return any(spec.match_file(path[len(base) + 1 :] if base else path) for base, spec in specs)


def _roots(project: Project, files: dict[str, bytes]) -> Iterator[str]:
    """Yield the bundle's folders for the import path: its root, `src`, and the folders of pipeline files that aren't in
    a package."""
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
    """Return the paths, in the bundle, of the files that may define pipelines.

    Raises:
        ConfigError: a file that the settings name isn't there.
    """
    project.check_files()
    return tuple(_inside(file, project.root) for file in project.files)
