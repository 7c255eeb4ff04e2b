"""Lists files, returns their stamps, and opens them, in a folder of this machine or in a bucket."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from blake3 import blake3

from headrace.define.attempt import attempt
from headrace.define.ports import tracing
from headrace.errors import DefinitionError, SourceError
from headrace.spec.address import SCHEMES
from headrace.spec.noun import Noun
from headrace.stages.bucket import bucket_errors, open_bucket, open_object

_MAGIC = re.compile(r"[*?[]")
_UNFIT = re.compile(r"[^A-Za-z0-9_./:@-]+")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Matches the memory address in the text of a Python object. This address differs from run to run."""


class Found(NamedTuple):
    """A file: its path as shown in errors and rows, and its stamp. A stamp changes when the file's bytes change."""

    path: str
    stamp: str


class Look(Noun, frozen=True):
    """The files to look for: a pattern of paths, and how to reach them.

    `endpoint` and `region` are those of a bucket. `links` is whether symbolic links may lead out of the pattern's
    folder.
    """

    pattern: str
    endpoint: str | None = None
    region: str | None = None
    links: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the pattern names files in a bucket."""
        return self.pattern.partition("://")[0] in SCHEMES

    def __post_init__(self) -> None:
        scheme, mark, _ = self.pattern.partition("://")
        if mark and scheme not in (*SCHEMES, "file"):
            raise DefinitionError(
                f"files at `{scheme}://` can't be read", hint="give a path, or `s3://`, `gs://`, `az://`"
            )


class Place(Protocol):
    """A folder or a bucket, with the pattern of the files to read."""

    def files(self) -> list[Found]:
        """Return the files that match the pattern, sorted by path."""
        ...

    def stamp(self, path: str) -> str:
        """Return the current stamp of a file."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        ...


def place_of(look: Look) -> Place:
    """Return the folder or the bucket that a pattern names. A relative path starts at the project's folder.

    Raises:
        SourceError: the path is relative, and the project's folder isn't on this host.
    """
    return Objects(look) if look.is_remote else Local(look)


class Local:
    """A folder of this machine, with the pattern of the files to read."""

    def __init__(self, look: Look) -> None:
        self._pattern = os.path.expanduser(look.pattern.removeprefix("file://"))
        self._links = look.links
        self.shown = look.pattern
        project = attempt().project
        if project is None and not os.path.isabs(self._pattern):
            raise SourceError(
                f"`{look.pattern}` is relative to the project's folder, and this host doesn't have that folder",
                hint="give an absolute path, put the files in a bucket (`s3://`), or pass them as `hr.Folder`",
            )
        self._base = project or Path("/")
        self._root = (self._base / _fixed(self._pattern)).resolve()

    def files(self) -> list[Found]:
        found = []
        for path in self.paths():
            self._judge(path)
            found.append(Found(path, self.stamp(path)))
        if not found and not _MAGIC.search(self._pattern):
            there, inside = (self._base / self._pattern).is_dir(), self.shown.rstrip("/")
            if not there and (self._base / self._pattern).exists():
                raise SourceError(
                    f"`{self.shown}` is not a regular file", hint="a pipe or a device can't be read twice"
                )
            raise SourceError(
                f"`{self.shown}` is {'a folder' if there else 'not there'}",
                hint=f"write `{inside}/*`, or `{inside}/**/*` for folders inside too"
                if there
                else "a relative path begins at the folder of the project",
            )
        return found

    def stamp(self, path: str) -> str:
        try:
            return stamp_of(os.stat(self._base / path))
        except OSError as error:
            raise _gone(path, error) from error

    def paths(self) -> list[str]:
        """Return the paths of the files that match the pattern, sorted."""
        return sorted(
            path
            for path in glob.glob(self._pattern, root_dir=self._base, recursive=True)
            if (self._base / path).is_file()
        )

    def real(self, path: str) -> Path:
        """Return the full path of a file on this machine."""
        self._judge(path)
        return self._base / path

    def open(self, path: str) -> BinaryIO:
        self._judge(path)
        try:
            return (self._base / path).open("rb")
        except OSError as error:
            raise _gone(path, error) from error

    def _judge(self, path: str) -> None:
        """Raise SourceError if a file is a link out of the pattern's folder, unless such links are allowed."""
        if self._links:
            return
        real = (self._base / path).resolve()
        if not real.is_relative_to(self._root) and real != self._root:
            raise SourceError(
                f"`{path}` is a link that leads out of `{_fixed(self._pattern) or '.'}`, to `{real}`",
                hint="leave it out, or allow it: `links=True`",
            )


class Objects:
    """A bucket, with the pattern of the files to read. It uses the same credentials as a store in a bucket."""

    def __init__(self, look: Look) -> None:
        scheme, _, rest = look.pattern.partition("://")
        self._bucket_name, _, self._pattern = rest.partition("/")
        self._start = f"{scheme}://{self._bucket_name}"
        self._bucket = open_bucket(self._start, look.endpoint, look.region)

    def files(self) -> list[Found]:
        matches = _pattern(self._pattern).fullmatch
        with bucket_errors():
            if not _MAGIC.search(self._pattern):
                return [Found(f"{self._start}/{self._pattern}", self.stamp(f"{self._start}/{self._pattern}"))]
            objects = list(self._bucket.objects(_fixed(self._pattern)))
        folders = {parent for each in objects for parent in _parents(each.name)}
        return sorted(
            Found(f"{self._start}/{each.name}", _tag(each))
            for each in objects
            if matches(each.name) and (each.size or not _is_mark(each.name, folders))
        )

    def stamp(self, path: str) -> str:
        with bucket_errors():
            found = self._bucket.look(self._name(path))
        if found is None:
            raise _gone(path, None)
        return _tag(found)

    def open(self, path: str) -> BinaryIO:
        name = self._name(path)
        with bucket_errors():
            size = self._bucket.head(name)
        if size is None:
            raise _gone(path, None)
        return open_object(self._bucket, name, size, bucket_errors())

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self._start}/")


def cursor_name_of(kind: str, pattern: str, told: str, *, once: bool) -> str:
    """Return a readable and unique name for a cursor, made from `kind`, `pattern` and a digest of `told`.

    `told` is a text of all options that change what is read. `once` is True if the cursor makes sure that each row is
    returned only once. The name then includes the pipeline's name, so that each pipeline gets all rows.
    """
    told = _ADDRESS.sub("", told)
    trace = tracing.get()
    if once and trace is not None:
        kind = f"{kind}/{_UNFIT.sub('_', trace.pipelines[0] if trace.pipelines else '')}"
    return f"{kind}/{_UNFIT.sub('_', pattern)[:80]}-{blake3(told.encode()).hexdigest()[:8]}"


def _tag(found: Any) -> str:
    return f"{found.size} {found.tag or found.modified}"


def stamp_of(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        raise SourceError("a path that fits the pattern is not a regular file", hint="leave it out of the pattern")
    # the inode's change time tells if a copy that keeps file times has replaced the bytes by others of the same size
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _parents(name: str) -> Iterator[str]:
    """Return all folders in the path of an object.

    >>> list(_parents("a/b/c.csv"))
    ['a', 'a/b']
    """
    return (name[: found.start()] for found in re.finditer("/", name))


def _is_mark(name: str, folders: Set[str]) -> bool:
    """Return whether the empty object `name` stands for a folder, not a file. Cloud consoles create such objects."""
    return name.endswith("/") or name in folders or "." not in os.path.basename(name)


def _gone(path: str, error: OSError | None) -> SourceError:
    if isinstance(error, PermissionError):
        return SourceError(
            f"`{path}` can't be read: permission denied", hint="give the user who runs this the right to read it"
        )
    told = f": {error.strerror}" if error is not None and not isinstance(error, FileNotFoundError) else ""
    return SourceError(f"`{path}` no longer exists{told}", hint="run again: files are listed again then")


def _fixed(pattern: str) -> str:
    """Return the folder that holds all files of a pattern: the part before the first wildcard.

    >>> _fixed("data/2026/*/x.csv"), _fixed("*.csv"), _fixed("/a/b.csv")
    ('data/2026', '', '/a')
    """
    match = _MAGIC.search(pattern)
    return os.path.dirname(pattern[: match.start()] if match else pattern)


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of paths as a regular expression: `*` matches within a folder, `**` across folders.

    >>> [bool(_pattern("a/**/*.csv").fullmatch(each)) for each in ("a/b.csv", "a/b/c/d.csv", "a/b.tsv", "x/a/b.csv")]
    [True, True, False, False]
    """
    return re.compile("".join(_pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    for found in re.finditer(r"\*\*/|\*\*|\*|\?|\[!?[^]]+\]|.", text, re.DOTALL):
        piece = found[0]
        if piece in ("**/", "**", "*", "?"):
            yield {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[piece]
        elif len(piece) > 1:
            inner = re.escape(piece[1:-1].removeprefix("!")).replace("\\-", "-")
            yield f"[{'^' if piece[1] == '!' else ''}{inner}]"
        else:
            yield re.escape(piece)
