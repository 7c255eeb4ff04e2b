"""Copies artifacts out of the store: as values, or as files that other programs read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace import report as as_report
from headrace.codec.codecs import Codecs
from headrace.codec.values import File, Folder
from headrace.errors import FEW, CodecError, NotFoundError, UsageError, listed
from headrace.inspect.get import addresses, table_file
from headrace.inspect.get.output_file import PAGES, form_of, written
from headrace.inspect.get.table_file import is_table
from headrace.inspect.views import VersionView, Views, in_words
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.bundle import own_code_in
from headrace.spec.intent import REPORT
from headrace.spec.noun import UNREADABLE, Row
from headrace.spec.report import Report
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
"""For each codec, the suffixes that its files may have besides the one in `SUFFIXES`."""
ANY = ("bytes", "file", "text")
"""Codecs whose bytes may have any format, so that the codec doesn't say which suffix is right."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z")
_ZIPPED = (".npz", ".skops", ".docx", ".pptx", ".xlsx", ".odp", ".ods", ".odt")
NEVER_TEXT = (
    *((".gz", ".tgz"), (".bz2", ".tbz2"), (".xz", ".txz"), (".zst",), (".tar",), (".7z",)),
    *((".zip", suffix) for suffix in _ZIPPED),
    *((".arrow", ".feather"), (".parquet",), (".npy",), (".pickle", ".pkl"), (".safetensors",)),
    *((".db", ".sqlite", ".sqlite3"), (".db", ".duckdb")),
    *((".png",), (".jpg", ".jpeg"), (".gif",), (".bmp",), (".tif", ".tiff"), (".webp",), (".pdf",)),
)
"""Formats that are no text: the suffixes that files of each format may have."""
FORMATS = (*NEVER_TEXT, PAGES, (".json", ".yaml", ".yml"), (".jsonl", ".ndjson"), (".csv",), (".svg", ".xml"))
"""Formats, each with its suffixes. Only these suffixes say what is in a file: `.txt`, `.bin` and unknown ones don't."""
TEXTS = (".txt", ".md", ".log", ".tsv")
"""Suffixes of files that are texts, whatever their format."""
REPORTS = (".txt", ".md", ".json", ".html", ".htm")
OPAQUE = ("file", "folder", "joined", "lightgbm")
"""Codecs whose parts have no meaning by themselves, even if they are plain values."""
_TASK_AND_PATH = re.compile(r"(?P<task>[^.\[]+(\[[^\]]*\])*)\.(?P<path>.*)")


def get(project: Project, run: str, task: str | None, to: Path | None, columns: Sequence[str] | None = None) -> Path:
    """Write an artifact to a file, and return the file's path.

    If `run` is a run, `task` names a task's output (`TASK`) or a part of the output (`TASK.PART`). If `run` is an
    artifact's digest, `task` is None. If `run` is the address of a version, `task` is a part of the version, or None.
    With `columns`, only these columns of a table are read. The suffix of `to` decides the format of a table or a
    report. Everything else is written in its own format.

    Raises:
        NotFoundError: there is no such artifact.
        CodecError: columns are named, and the artifact is not a table or has no such column.
        UsageError: the file can't be written, or the artifact doesn't fit the format that the suffix of `to` names.
    """
    with views(project) as found:
        ref, name, inside = artifact(found, run, task)
    store = reading_store(project)
    name = name.replace("/", "-")  # a name such as `team/delays` must not lead to another folder
    if columns is None and ref.type == REPORT:
        return write_report(ref, store, to, name)
    if columns is None and not is_table(ref):
        return write(ref, store, to, name, inside)
    return write_table(ref, store, columns, to, name)


def artifact(found: Views, word: str, task: str | None) -> tuple[Ref, str, str]:
    """Return the named artifact, the name for its file, and the beginning of a command that gets a part of the
    artifact.

    Raises:
        NotFoundError: there is no such artifact.
    """
    version = addresses.version(found, word)
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
    """Return the artifact whose digest is, or begins with, this word.

    Raises:
        NotFoundError: there is no such artifact, or `word` names a run, so that a task must be named too.
    """
    try:
        return found.artifact(word)
    except NotFoundError as error:
        check_is_no_run(found, word)
        raise error


def check_is_no_run(found: Views, word: str) -> None:
    """Raise NotFoundError if the word names a run; the hint lists the run's tasks.

    Raises:
        NotFoundError: the word names a run.
    """
    try:
        run = found.find(word).run
    except NotFoundError:
        return
    names = [row.name for row in found.rows(run) if row.out is not None]
    raise NotFoundError(
        f"`{word}` is the run `{run}`, and not an artifact",
        hint=f"name a task of it: {listed(names, FEW)}" if names else "none of its tasks has an output",
    )


def write_table(ref: Ref, store: Store, columns: Sequence[str] | None, to: Path | None, name: str) -> Path:
    """Write a table, or some columns of it, in the format of the file's suffix; return the file's path."""
    form = form_of(to, table_file.SUFFIXES, "a table")
    if columns is None and ref.codec not in ("joined", "arrow-stream") and form == ".arrow":
        return write(ref, store, to, name)  # the artifact's own bytes are an Arrow file
    table = table_file.as_table(Codecs().load(ref, store, columns=columns), f"`{name}`", with_index=True)
    with written(to, f"{name}.arrow") as (path, aside):
        table_file.write(table, aside, form)
    return path


def write_report(ref: Ref, store: Store, to: Path | None, name: str) -> Path:
    """Write a report as Markdown (`.md`), JSON (`.json`), a page (`.html`) or text (other suffixes); return the file's
    path.

    JSON has the whole report. Text and Markdown lack the report's drawings.
    """
    report = Codecs().load(ref, store)
    if not isinstance(report, Report):
        raise CodecError(
            f"the artifact `{ref.digest[:12]}` is recorded as a report, but is a `{type(report).__name__}`",
            hint="it is damaged, or forged; run again the task that made it",
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
    """Return a report, or a part of a report, with its structs converted to dictionaries by field name."""
    if isinstance(value, tuple):
        return [_by_name(each) for each in value]
    if isinstance(value, Row):
        return {name: _by_name(getattr(value, name)) for name in value.__struct_fields__}
    return value


def find(views: Views, run: str, task: str) -> Ref:
    """Return the artifact of a task's output, or a part of it:
    `task` may end in a part's name or index (`split.train`, `fit.0`).

    Raises:
        NotFoundError: there is no such artifact.
    """
    run = views.find(run).run  # looked up once, since `latest` may change meanwhile
    name, path = named_part(views, run, task)
    row = views.task(run, name)
    if row.out is None:
        raise NotFoundError(f"task `{row.name}` has no output: it {in_words(row.state)}", hint=row.reason or None)
    return part_of(decode_ref(row.out), path, row.name)


def named_part(views: Views, run: str, task: str) -> tuple[str, str]:
    """Return the name of a task and the path of a part of its output: `split.train` is part `train` of task `split`.

    Raises:
        NotFoundError: there is no such run or task.
    """
    try:
        return views.task(run, task).name, ""
    except NotFoundError:
        name, path = task_and_path(task)
        if name == task:
            raise
        return views.task(run, name).name, path


def task_and_path(words: str) -> tuple[str, str]:
    """Return a task's name and the path of a part of its output. The path is empty if `words` has none.

    >>> task_and_path("split.train"), task_and_path("fit[1][rate=0.1].model")
    (('split', 'train'), ('fit[1][rate=0.1]', 'model'))
    """
    match = _TASK_AND_PATH.fullmatch(words)
    return (match["task"], match["path"]) if match else (words, "")


def _of_version(version: VersionView, path: str, word: str) -> Ref:
    """Return a version's artifact, or its part at `path`. The path `preparation` means the preparation that was
    registered with the version, if there is one and the artifact has no part of this name. If a function prepares the
    rows, this path means the values that the function gets. `word` is the version's address, for errors."""
    first, _, rest = path.partition(".")
    if first == "preparation" and version.preparation is not None and first not in (version.out.names or ()):
        own = own_code_in(version.preparation)
        return part_of(version.preparation if own is None else own.given, rest, f"{word} {first}")
    return part_of(version.out, path, word)


def part_of(ref: Ref, path: str, task: str) -> Ref:
    """Return the part of a task's output at a path (`train`, `split.train` or `0`),
    or the whole output if the path is empty.

    Raises:
        NotFoundError: there is no such part.
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
    """Write an artifact in its own format to a file, or to a folder if the artifact is a folder; return the path.

    If `to` is None, the file is written to the current folder; its name is `name` with the suffix of its format. A
    LightGBM model is written as the text that LightGBM reads; what else the model holds (such as the class labels of an
    `LGBMClassifier`) is left out. Any other value with parts is written as JSON, if all its parts are plain. For a text
    or a file, `to` may have any suffix that isn't surely wrong. `inside` is the beginning of a `headrace get` command
    that errors use to name a part.

    Raises:
        UsageError: the file can't be written, or one of the parts has a format of its own.
    """
    _check_form(ref, to, inside)
    files = Codecs().load(ref, store) if ref.codec in ("file", "folder") else None
    if isinstance(files, File):
        _check_file(files, to)
    inner = files.name if isinstance(files, File) else f"{name}{SUFFIXES.get(ref.codec, '')}"
    with written(to, inner) as (path, aside):
        if isinstance(files, Folder):
            shutil.copytree(files.path, aside)
        elif isinstance(files, File):
            shutil.copyfile(files.path, aside)
            aside.chmod(0o644)
        else:
            data = _bytes(ref, store, name, inside)
            if ref.codec == "text":
                _check_text(data, path.suffix.lower())
            aside.write_bytes(data)
    return path


def _check_form(ref: Ref, to: Path | None, inside: str) -> None:
    """Raise UsageError if the suffix of `to` names a format that the artifact does not have."""
    kind = ref.type.partition("@")[0].rpartition(".")[2]
    if ref.codec == "folder" and to is not None and to.suffix.lower() in ARCHIVES:
        raise UsageError(f"a folder can't be written as `{to.suffix}`", hint="name a folder, and pack it yourself")
    if ref.codec in SUFFIXES and ref.codec not in ANY:
        forms = (SUFFIXES[ref.codec], *ALSO.get(ref.codec, ()))
        form_of(to, forms, f"a `{kind}`", _alone(ref, to, inside))


def _check_file(file: File, to: Path | None) -> None:
    """Raise UsageError if the suffix of `to` names another format than the suffix of `file` does."""
    own = Path(file.name).suffix.lower()
    own_format = [suffix for form in FORMATS if own in form for suffix in form]
    if own in (".yaml", ".yml"):
        own_format.remove(".json")  # JSON is YAML, but YAML needn't be JSON
    others = FORMATS if own_format else NEVER_TEXT if own in TEXTS else ()
    if to is not None and any(to.suffix.lower() in form for form in others):
        form_of(to, tuple(dict.fromkeys((own, *own_format))), f"the file `{file.name}`")


def _check_text(data: bytes, suffix: str) -> None:
    """Raise UsageError if the suffix names a format that the text surely doesn't have. All other suffixes are accepted,
    because only the text's maker knows its format."""
    is_wrong = any(suffix in form for form in NEVER_TEXT)
    if suffix == ".json":
        try:
            msgspec.json.decode(data)
        except UNREADABLE:
            is_wrong = True
    if is_wrong:
        raise UsageError(f"this text can't be written as `{suffix}`", hint="`--to` takes `.txt`, or no suffix")


def _alone(ref: Ref, to: Path | None, inside: str) -> str:
    """Return a hint with the commands that get single parts of an artifact: the parts that have the format of `to`, or
    all parts if none has that format. Return an empty text if the artifact has no named parts, or if its parts have no
    meaning by themselves."""
    if ref.codec in OPAQUE:
        return ""
    named_parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    suffix = "" if to is None else to.suffix.lower()
    fit = [name for name, part in named_parts.items() if suffix and SUFFIXES.get(part.codec) == suffix]
    commands = [f"headrace get {inside}{name}" for name in fit or named_parts]
    return f"get one of its parts: {listed(commands, FEW)}" if commands else ""


def _bytes(ref: Ref, store: Store, name: str, inside: str) -> bytes:
    """Return an artifact's own bytes. If the artifact is a value with parts, return the value as JSON."""
    if ref.codec == "lightgbm":
        ref = part_of(ref, "model", name)
        if ref.codec != "text":
            raise UsageError(f"the model `{name}` isn't fitted, so it has no LightGBM file", hint="fit the model first")
    if ref.inline is not None:
        return ref.inline
    if ref.nonce is not None:
        return store.path(ref.digest, ref.nonce, verify=True).read_bytes()
    return msgspec.json.format(msgspec.json.encode(plain_of(ref, name, inside)))


def plain_of(ref: Ref, name: str, inside: str = "") -> object:
    """Return a value with parts as plain JSON data, without importing the classes that it was made of.

    `name` is the name of the value in errors, and `inside` the beginning of a command that names a part of it.

    Raises:
        UsageError: a part of the value has a format of its own.
    """
    if ref.parts is not None and ref.codec not in OPAQUE:
        names = ref.names or tuple(str(index) for index in range(len(ref.parts)))
        pairs = zip(names, ref.parts, strict=True)
        values = {each: plain_of(part, f"{name}.{each}", f"{inside}{each}.") for each, part in pairs}
        return values if ref.names else list(values.values())
    if ref.codec in ("json", "document") and ref.inline is not None:
        return msgspec.json.decode(ref.inline)
    if ref.codec == "text" and ref.inline is not None:
        return ref.inline.decode()
    alone = inside.removesuffix(".")
    called = alone if addresses.address(alone) else name  # for a version, `name` is the name of a file
    raise UsageError(
        f"`{called}` is a `{ref.type.partition('@')[0]}`, which can't be written as a part of a JSON file",
        hint=f"write it to a file of its own: `headrace get {alone}`",
    )
