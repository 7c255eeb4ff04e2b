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

SUFFIXES = {
    "arrow": ".arrow",
    "arrow-stream": ".arrow",
    "bytes": ".bin",
    "json": ".json",
    "numpy": ".npy",
    "parts": ".json",
    "pickle": ".pickle",
    "record": ".json",
    "svg": ".svg",
    "text": ".txt",
}
_decode_ref = msgspec.msgpack.Decoder(Ref).decode


def get(project: Project, run: str, task: str | None, to: Path | None) -> Path:
    """Write an artifact to a file: a task's output (`TASK`, or a part of it, `TASK.PART`), or one named by its digest.

    Raises:
        NotFoundError: there is none.
    """
    found = views(project)
    ref = found.artifact(run) if task is None else find(found, run, task)
    return write(ref, open_store(project), to, task or ref.digest[:12])


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


def write(ref: Ref, store: FolderStore, to: Path | None, name: str) -> Path:
    """Write an artifact to a file (a folder goes to a folder) in its own form; give the path written.

    Without `to`, it goes to the current folder, under `name` with the suffix of its form. A value with parts is written
    as JSON, where all of its parts are plain.

    Raises:
        UsageError: it can't be written there, or one of its parts has a form of its own.
    """
    files = Codecs().load(ref, store, verify=True) if ref.codec in ("file", "folder") else None
    inner = files.name if isinstance(files, File | Folder) else f"{name}{SUFFIXES.get(ref.codec, '')}"
    to = Path(inner) if to is None else to / inner if to.is_dir() else to
    try:
        if isinstance(files, Folder):
            shutil.copytree(files.path, to)
        elif isinstance(files, File):
            shutil.copyfile(files.path, to)
            to.chmod(0o644)
        else:
            to.write_bytes(_bytes(ref, store, name))
    except OSError as error:
        raise UsageError(f"can't write `{to}`: {error.strerror}", hint="give another path by `--to`") from error
    return to


def _bytes(ref: Ref, store: FolderStore, name: str) -> bytes:
    """Give an artifact's own bytes, or those of a value with parts as JSON."""
    if ref.inline is not None:
        return ref.inline
    if ref.nonce is not None:
        store.verify(ref.digest, ref.nonce)
        return store.path(ref.digest, ref.nonce).read_bytes()
    return msgspec.json.format(msgspec.json.encode(_plain(ref, name)))


def _plain(ref: Ref, name: str) -> object:
    """Give a value with parts as JSON has it, without importing the classes that it was made of."""
    if ref.parts is not None:
        names = ref.names or tuple(str(index) for index in range(len(ref.parts)))
        found = {each: _plain(part, f"{name}.{each}") for each, part in zip(names, ref.parts, strict=True)}
        return found if ref.names else list(found.values())
    if ref.codec == "json" and ref.inline is not None:
        return msgspec.json.decode(ref.inline)
    if ref.codec == "text" and ref.inline is not None:
        return ref.inline.decode()
    raise UsageError(
        f"`{name}` is a `{ref.type}`, which has a file of its own", hint=f"get it alone: `headrace get RUN {name}`"
    )
