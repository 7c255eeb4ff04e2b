"""Gets artifacts out: as values, or as files that other programs read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.app import named, table_file
from headrace.app.output import form_of, written
from headrace.app.project import Project
from headrace.app.reading import VersionView, Views, in_words
from headrace.app.state import reading_store, views
from headrace.app.table_file import is_table
from headrace.codec.codecs import Codecs
from headrace.codec.file import File, Folder
from headrace.errors import CodecError, NotFoundError, UsageError, listed
from headrace.record.views import FEW
from headrace.spec.artifact import Ref
from headrace.spec.intent import REPORT
from headrace.spec.noun import Row
from headrace.spec.report import Report
from headrace.stages import report as as_report
from headrace.store.store import Store

SUFFIXES = {
    "arrow": ".arrow",
    "arrow-stream": ".arrow",
    "bytes": ".bin",
    "document": ".json",
    "items": ".json",
    "json": ".json",
    "lightgbm": ".txt",
    "numpy": ".npy",
    "pandas": ".arrow",
    "parts": ".json",
    "pickle": ".pickle",
    "polars": ".arrow",
    "record": ".json",
    "safetensors": ".safetensors",
    "skops": ".skops",
    "svg": ".svg",
    "text": ".txt",
}
ALSO = {"lightgbm": (".lgb", ".model"), "pickle": (".pkl",)}
"""Other suffixes of the same form."""
ANY = ("bytes", "file", "text")
"""Codecs of what only their maker knows the form of: any suffix may be right."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")
REPORTS = (".txt", ".md", ".json", ".html", ".htm")
OPAQUE = ("file", "folder", "joined", "lightgbm")
"""Codecs whose parts mean nothing without them, plain as they may be."""
_decode_ref = msgspec.msgpack.Decoder(Ref).decode


def get(project: Project, run: str, task: str | None, to: Path | None, columns: Sequence[str] | None = None) -> Path:
    """Write an artifact to a file: a task's output (`TASK`, or a part of it, `TASK.PART`), or one named by its digest,
    or by the address of a version (`task` is then a part of it). Of a table, with `columns`, only these are read. A
    table and a report are written as the suffix of `to` says, all else in its own form.

    Raises:
        NotFoundError: there is none.
        CodecError: columns are named of what isn't a table, or has none of that name.
        UsageError: it can't be written there, or not in the form that the suffix of `to` names.
    """
    with views(project) as found:
        ref, name, inside = artifact(found, run, task)
    store = reading_store(project)
    name = name.replace("/", "-")  # it may be `team/delays`, or name a path, and the file goes to this folder
    if columns is None and ref.type == REPORT:
        return write_report(ref, store, to, name)
    if columns is None and not is_table(ref):
        return write(ref, store, to, name, inside)
    return write_table(ref, store, columns, to, name)


def artifact(found: Views, word: str, task: str | None) -> tuple[Ref, str, str]:
    """Return the artifact that is meant, what its file is called, and how a command begins that names a part of it.

    Raises:
        NotFoundError: there is none.
    """
    version = named.version(found, word)
    if version is not None:
        part = f".{task}" if task else ""
        name = version.name
        out = _of_version(version, task or "", word)
        return out, f"{name}-{version.version}{part}", f"{word} {task}." if task else f"{word} "
    if task is None:
        ref = by_digest(found, word)
        return ref, ref.digest[:12], "RUN TASK."
    return find(found, word, task), task, f"{word} {task}."


def by_digest(found: Views, word: str) -> Ref:
    """Return the artifact with this digest, or the beginning of it.

    Raises:
        NotFoundError: there is none, or the word names a run, and says nothing of a task.
    """
    try:
        return found.artifact(word)
    except NotFoundError as error:
        check_is_no_run(found, word)
        raise error


def check_is_no_run(found: Views, word: str) -> None:
    """Refuse the name of a run where a task of it is meant.

    Raises:
        NotFoundError: it names one.
    """
    try:
        run = found.find(word).run
    except NotFoundError:
        return
    names = [row.name for row in found.rows(run) if row.out is not None]
    raise NotFoundError(
        f"`{word}` is the run `{run}`, and no artifact",
        hint=f"name a task of it too: {listed(names, FEW)}" if names else "no task of it gave anything",
    )


def write_table(ref: Ref, store: Store, columns: Sequence[str] | None, to: Path | None, name: str) -> Path:
    """Write a table, or some columns of it, to a file as its suffix says; give the path written."""
    form = form_of(to, table_file.SUFFIXES, "a table")
    if columns is None and ref.codec not in ("joined", "arrow-stream") and form == ".arrow":
        return write(ref, store, to, name)  # its own bytes, which are such a file
    table = table_file.as_table(Codecs().load(ref, store, columns=columns), f"`{name}`", with_index=True)
    with written(to, f"{name}.arrow") as (path, aside):
        table_file.write(table, aside, form)
    return path


def write_report(ref: Ref, store: Store, to: Path | None, name: str) -> Path:
    """Write a report as Markdown (`.md`), JSON (`.json`, all of it), a page (`.html`), or else text; give the path
    written. Text and Markdown are without its drawings."""
    report = Codecs().load(ref, store, verify=True)
    if not isinstance(report, Report):
        raise CodecError(
            f"the artifact `{ref.digest[:12]}` is called a report, and is a `{type(report).__name__}`",
            hint="it is damaged, or forged; run what made it again",
        )
    match form_of(to, REPORTS, "a report"):
        case ".json":
            data = msgspec.json.format(msgspec.json.encode(_by_name(report))) + b"\n"
        case ".md":
            data = as_report.markdown(report).encode()
        case ".html" | ".htm":
            data = as_report.html(report).encode()
        case _:
            data = as_report.text(report).encode()
    with written(to, f"{name}.txt") as (path, aside):
        aside.write_bytes(data)
    return path


def _by_name(value: object) -> object:
    """Give a report, or a part of one, with its fields by their names: it is stored by their places."""
    if isinstance(value, tuple):
        return [_by_name(each) for each in value]
    if isinstance(value, Row):
        return {name: _by_name(getattr(value, name)) for name in value.__struct_fields__}
    return value


def find(views: Views, run: str, task: str) -> Ref:
    """Give the artifact of a task's output; `task` may end in the name or place of a part, `split.train`, `fit.0`.

    Raises:
        NotFoundError: there is none.
    """
    run = views.find(run).run  # once: a run that begins meanwhile would be `latest` then
    name, path = named_part(views, run, task)
    row = views.task(run, name)
    if row.out is None:
        raise NotFoundError(f"task `{row.name}` has no output: it {in_words(row.state)}", hint=row.reason or None)
    return part_of(_decode_ref(row.out), path, row.name)


def named_part(views: Views, run: str, task: str) -> tuple[str, str]:
    """Tell a task's name from the path of a part of its output: `split.train` is `train` of `split`.

    Raises:
        NotFoundError: there is no such run or task.
    """
    try:
        return views.task(run, task).name, ""
    except NotFoundError:
        name, dot, path = task.partition(".")
        if not dot:
            raise
        return views.task(run, name).name, path


def _of_version(version: VersionView, path: str, word: str) -> Ref:
    """Return a version's artifact or a part of it, or the preparation that was registered with it."""
    if path == "preparation" and version.preparation is not None and path not in (version.out.names or ()):
        return version.preparation
    return part_of(version.out, path, word)


def part_of(ref: Ref, path: str, task: str) -> Ref:
    """Give the part of a task's output that a path names, `train` or `split.train` or `0`; all of it by none.

    Raises:
        NotFoundError: there is none.
    """
    for word in path.split(".") if path else ():
        names = ref.names or tuple(str(index) for index in range(len(ref.parts or ())))
        if word not in names or ref.parts is None:
            raise NotFoundError(
                f"the output of `{task}` has no part `{word}`",
                hint=f"it has {', '.join(names)}" if names else "it has no parts",
            )
        ref = ref.parts[names.index(word)]
    return ref


def write(ref: Ref, store: Store, to: Path | None, name: str, inside: str = "RUN TASK.") -> Path:
    """Write an artifact to a file (a folder goes to a folder) in its own form; give the path written.

    Without `to`, it goes to the current folder, under `name` with the suffix of its form. A model of LightGBM is the
    text that its library reads, without what a scikit-learn model of it holds beside the trees. Another value with
    parts is written as JSON, where all of its parts are plain. An error names a part as in `headrace get`, after
    `inside`.

    Raises:
        UsageError: it can't be written there, or one of its parts has a form of its own.
    """
    _check_form(ref, to, inside)
    files = Codecs().load(ref, store, verify=True) if ref.codec in ("file", "folder") else None
    inner = files.name if isinstance(files, File) else f"{name}{SUFFIXES.get(ref.codec, '')}"
    with written(to, inner) as (path, aside):
        if isinstance(files, Folder):
            shutil.copytree(files.path, aside)
        elif isinstance(files, File):
            shutil.copyfile(files.path, aside)
            aside.chmod(0o644)
        else:
            aside.write_bytes(_bytes(ref, store, name, inside))
    return path


def _check_form(ref: Ref, to: Path | None, inside: str) -> None:
    """Refuse to write an artifact under the suffix of a form that it doesn't have."""
    kind = ref.type.partition("@")[0].rpartition(".")[2]
    if ref.codec == "folder" and to is not None and to.suffix.lower() in ARCHIVES:
        raise UsageError(f"a folder can't be written as `{to.suffix}`", hint="name a folder, and pack it yourself")
    if ref.codec in SUFFIXES and ref.codec not in ANY:
        forms = (SUFFIXES[ref.codec], *ALSO.get(ref.codec, ()))
        form_of(to, forms, f"a `{kind}`", _alone(ref, to, inside))


def _alone(ref: Ref, to: Path | None, inside: str) -> str:
    """Say how to get a part of an artifact alone: those whose form it is, if there are any."""
    named_parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    suffix = "" if to is None else to.suffix.lower()
    fit = [name for name, part in named_parts.items() if suffix and SUFFIXES.get(part.codec) == suffix]
    commands = [f"headrace get {inside}{name}" for name in fit or named_parts]
    return f"a part of it may be: {listed(commands, FEW)}" if commands else ""


def _bytes(ref: Ref, store: Store, name: str, inside: str) -> bytes:
    """Give an artifact's own bytes, or those of a value with parts as JSON."""
    if ref.codec == "lightgbm":
        ref = part_of(ref, "model", name)
        if ref.codec != "text":
            raise UsageError(f"the model `{name}` isn't fitted, so LightGBM has no file for it", hint="fit it before")
    if ref.inline is not None:
        return ref.inline
    if ref.nonce is not None:
        return store.path(ref.digest, ref.nonce, verify=True).read_bytes()
    return msgspec.json.format(msgspec.json.encode(plain_of(ref, name, inside)))


def plain_of(ref: Ref, name: str, inside: str = "") -> object:
    """Give a value with parts as JSON has it, without importing the classes that it was made of. `name` is that of the
    value, and `inside` how a command begins that names a part of it.

    Raises:
        UsageError: a part of it has a form of its own.
    """
    if ref.parts is not None and ref.codec not in OPAQUE:
        names = ref.names or tuple(str(index) for index in range(len(ref.parts)))
        pairs = zip(names, ref.parts, strict=True)
        found = {each: plain_of(part, f"{name}.{each}", f"{inside}{each}.") for each, part in pairs}
        return found if ref.names else list(found.values())
    if ref.codec in ("json", "document") and ref.inline is not None:
        return msgspec.json.decode(ref.inline)
    if ref.codec == "text" and ref.inline is not None:
        return ref.inline.decode()
    raise UsageError(
        f"`{name}` is a `{ref.type.partition('@')[0]}`, which has a file of its own",
        hint=f"get it alone: `headrace get {inside.removesuffix('.')}`",
    )
