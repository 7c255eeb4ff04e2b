"""Finds the lock from which the environment of a project or a group is built. Reads the lock and the files that it
includes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from blake3 import blake3

LOCKS = ("uv.lock", "pylock.toml", "requirements.lock", "requirements.txt", "poetry.lock", "pdm.lock")
"""Files that count as a project's lock, next to its `headrace.toml`; the first that exists is used."""
_OWN = ("pylock.{}.toml", "requirements-{}.txt", "requirements/{}.txt")
"""Files that count as a group's own lock. If a group has no such file, the project's lock may contain it."""
_INCLUDE = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)", re.MULTILINE)

Read = Callable[[str], bytes | None]
"""Returns the bytes of a file of the bundle by its path, or None if there is no such file."""


def find_lock(read: Read, group: str | None) -> str | None:
    """Return the path of the lock from which an environment is built, or None if the project has no lock."""
    own = () if group is None else tuple(name.format(group) for name in _OWN)
    return next((name for name in (*own, *LOCKS) if read(name) is not None), None)


def is_own(file: str, group: str | None) -> bool:
    """Return whether a lock is a group's own lock. In this case, all packages in it belong to the group's
    environment."""
    return group is not None and file in [name.format(group) for name in _OWN]


def own_locks(group: str) -> tuple[str, ...]:
    """Return the paths that a group's own lock may have."""
    return tuple(name.format(group) for name in _OWN)


def lock_texts(read: Read, file: str) -> dict[str, str]:
    """Return the texts of a lock and of the files that it includes, by path. Files that don't exist are left out."""
    texts: dict[str, str] = {}
    rest = [file]
    while rest:
        name = rest.pop()
        data = None if name in texts else read(name)
        if data is None:
            continue
        texts[name] = text = data.decode("utf-8", "replace")
        if not name.endswith((".toml", "uv.lock", "poetry.lock", "pdm.lock")):
            rest += [_beside(name, other) for other in _INCLUDE.findall(text)]
    return texts


def lock_digest(texts: Mapping[str, str]) -> str:
    """Return the digest of a lock and of the files that it includes."""
    hasher = blake3()
    for name, text in sorted(texts.items()):
        hasher.update(f"{name}\0{len(text)}\0{text}".encode())
    return hasher.hexdigest()


def _beside(name: str, other: str) -> str:
    """Return the path of the file `other`. `other` is given relative to the folder of the file `name`."""
    parts: list[str] = []
    for part in (*PurePosixPath(name).parent.parts, *PurePosixPath(other).parts):
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
