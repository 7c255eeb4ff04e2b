"""Gets artifacts out: as values, or as files that other programs read."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from headrace.app.project import Project
from headrace.app.state import open_store, views
from headrace.codec.codecs import Codecs
from headrace.codec.file import File, Folder
from headrace.errors import NotFoundError, UsageError
from headrace.record.views import Views
from headrace.spec.artifact import Ref
from headrace.store.folder import FolderStore

_decode_ref = msgspec.msgpack.Decoder(Ref).decode


def get(project: Project, run: str, task: str | None, to: Path) -> Path:
    """Write an artifact to a file: a task's output (`TASK`, or a part of it, `TASK.PART`), or one named by its digest.

    Raises:
        NotFoundError: there is none.
    """
    found = views(project)
    ref = found.artifact(run) if task is None else find(found, run, task)
    return write(ref, open_store(project), to)


def find(views: Views, run: str, task: str) -> Ref:
    """Give the artifact of a task's output; `task` may end in the name or place of a part, `split.train`, `fit.0`.

    Raises:
        NotFoundError: there is none.
    """
    view = views.find(run)
    try:
        row, path = views.task(view.run, task), ""
    except NotFoundError:
        name, dot, path = task.partition(".")
        if not dot:
            raise
        row = views.task(view.run, name)
    if row.out is None:
        raise NotFoundError(f"task `{row.name}` has no output: it is {row.state}", hint=row.reason or None)
    return _part(_decode_ref(row.out), path, row.name)


def _part(ref: Ref, path: str, task: str) -> Ref:
    for word in path.split(".") if path else ():
        names = ref.names or tuple(str(index) for index in range(len(ref.parts or ())))
        if word not in names or ref.parts is None:
            raise NotFoundError(
                f"the output of `{task}` has no part `{word}`",
                hint=f"it has {', '.join(names)}" if names else "it has no parts",
            )
        ref = ref.parts[names.index(word)]
    return ref


def write(ref: Ref, store: FolderStore, to: Path) -> Path:
    """Write an artifact to a file (a folder goes to a folder) in its own form; give the path written.

    Raises:
        UsageError: it can't be written there.
    """
    value = Codecs().load(ref, store, verify=True)
    try:
        if isinstance(value, Folder):
            shutil.copytree(value.path, to)
            return to
        if to.is_dir():
            to = to / (value.name if isinstance(value, File) else "value")
        if isinstance(value, File):
            shutil.copyfile(value.path, to)
        elif ref.nonce is not None:
            shutil.copyfile(store.path(ref.digest, ref.nonce), to)
        elif ref.inline is not None and ref.codec in ("json", "text", "bytes", "svg"):
            to.write_bytes(ref.inline)
        else:
            to.write_text(f"{value}\n")
        to.chmod(0o644)
    except OSError as error:
        raise UsageError(f"can't write `{to}`: {error.strerror}", hint="give another path by `--to`") from error
    return to
