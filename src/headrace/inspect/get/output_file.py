"""Writes files for users. A file is written completely or not at all. An existing file is overwritten only if the user
named it."""

from __future__ import annotations

import filecmp
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import UsageError

PAGES = (".html", ".htm")
"""Suffixes of an HTML page."""
_LINKS = 40
"""So many links are followed from one to the next, as Linux does."""
_OPENED = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/(self|thread-self|\d+)(?:/task/\d+)?)/fd/(\d{1,9})")


@contextmanager
def written(to: Path | None, name: str) -> Iterator[tuple[Path, Path]]:
    """Yield a file's final path and a temporary path. Write to the temporary path: the file is moved when the block
    ends.

    If `to` names an existing file, that file is overwritten. If `to` is a folder, or None for the current folder, the
    file is called `name` there. A stranger may have chosen `name`. So it is changed if it would lead to another folder
    or hide the file, and another file of this name is never overwritten.

    Raises:
        UsageError: the file can't be written, or the folder already has another file called `name`.
    """
    _check_path(to)
    is_told = to is not None and not to.is_dir()
    path = to if to is not None and is_told else (to or Path()) / plain_name(name)
    opened = _opened(path) if is_told else None
    is_device = opened is not None or (is_told and path.exists() and not path.is_file())  # a pipe can't be replaced
    target = path.resolve() if is_told and not is_device else path  # if a link was named, the file that it leads to
    beside = Path(tempfile.gettempdir()) if is_device else target.parent
    aside = beside / f".{target.name[:100]}.{secrets.token_hex(4)}"
    try:
        yield path, aside
        if is_device:
            _pour(aside, path if opened is None else opened)
        else:
            _settle(aside, target, over=is_told)
    except OSError as error:
        why = str(error.strerror or error).replace(str(aside), str(path))  # Arrow's errors name the temporary file
        raise UsageError(f"can't write `{path}`: {why}", hint="give another path by `--to`") from error
    finally:
        with suppress(OSError):  # if nothing could be written, there is nothing to remove
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)


def _check_path(to: Path | None) -> None:
    """Raise UsageError for a path that no file can have: one that leads through a file, or into a folder that doesn't
    exist, or a name that is too long."""
    try:
        if to is not None:
            to.lstat()
    except FileNotFoundError:
        if to is not None and not to.parent.exists():
            raise UsageError(
                f"can't write `{to}`: there is no folder `{to.parent}`", hint="make it, or give another path by `--to`"
            ) from None
    except OSError as error:
        raise UsageError(f"can't write `{to}`: {error.strerror}", hint="give another path by `--to`") from error


def form_of(to: Path | None, forms: Sequence[str], what: str, hint: str = "") -> str:
    """Return the suffix that decides a file's format: that of `to`, or the first of `forms` if `to` has none.

    Raises:
        UsageError: the suffix of `to` is not among `forms`, or no file can have this path.
    """
    _check_path(to)
    suffix = "" if to is None or to.is_dir() else to.suffix.lower()
    if not suffix or suffix[1:].isdigit():  # the name `model-1.2` has no suffix
        return forms[0]
    if suffix in forms:
        return suffix
    listed = ", ".join(f"`{form}`" for form in forms)
    raise UsageError(f"{what} can't be written as `{suffix}`", hint=hint or f"`--to` takes {listed}, or no suffix")


def plain_name(name: str) -> str:
    """Return a file name that leads to no other folder and is not hidden.

    >>> plain_name("../../.bashrc"), plain_name("team/delays-3"), plain_name("..")
    ('bashrc', 'delays-3', 'artifact')
    """
    last = "".join(each for each in name.rstrip("/").rpartition("/")[2] if each.isprintable())
    return last.lstrip(".") or "artifact"


def is_stdout(path: Path) -> bool:
    """Return whether a path stands for this process's standard output."""
    return _opened(path) == 1


def _opened(path: Path) -> int | None:
    """Return the descriptor of the open file that a path such as `/dev/stdout` stands for, or None. Even if this is a
    file of a user, it must not be replaced: other output was written to it before, and more may follow."""
    for _ in range(_LINKS):
        for each in (Path(os.path.normpath(path.absolute())), path.parent.resolve() / path.name):
            matched = _OPENED.fullmatch(str(each))
            if matched is not None and matched[2] in (None, "self", "thread-self", str(os.getpid())):
                return {"stdout": 1, "stderr": 2}.get(matched[1]) or int(matched[3])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _pour(aside: Path, to: Path | int) -> None:
    """Copy the temporary file `aside` to a device, such as a pipe, or to an open file. Libraries can't write to a pipe
    directly, since they seek in the file that they write."""
    sys.stdout.flush()
    with aside.open("rb") as file, open(to if isinstance(to, Path) else os.dup(to), "wb") as device:
        shutil.copyfileobj(file, device)


def _settle(aside: Path, path: Path, *, over: bool) -> None:
    """Rename the temporary file to its final path. If `over` is False, do so only if no other file has that path."""
    if over:
        os.replace(aside, path)
    elif not os.path.lexists(path):
        if not aside.is_dir():
            path.touch(exist_ok=False)  # so that nobody takes the name meanwhile; not all file systems have hard links
        aside.rename(path)
    elif not _is_same(aside, path):
        over_it = "" if aside.is_dir() or path.is_dir() else f"`--to {path}` writes over it; or "
        raise UsageError(f"`{path}` is there already", hint=f"{over_it}give another path by `--to`")


def _is_same(aside: Path, path: Path) -> bool:
    return not aside.is_dir() and path.is_file() and filecmp.cmp(aside, path, shallow=False)
