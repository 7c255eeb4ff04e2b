"""A registered model, applied to a file of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError
from headrace.inspect.get.addresses import address
from headrace.inspect.get.output_file import form_of, written
from headrace.inspect.get.table_file import JSON_SUFFIXES, SUFFIXES, json_lines, write
from headrace.operate.table_in_file import TableInFile
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.spec.artifact import Ref
from headrace.spec.bundle import own_code_in
from headrace.spec.signature import Signature, signature_in
from headrace.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.inspect.views import VersionView
    from headrace.models.answering import Answering
    from headrace.stages.prepare._clean.preparation import Preparation


class Predicted(Struct, frozen=True, kw_only=True):
    """What a model predicted for a file of rows.

    `file` is the path of the file that was written: it has the columns of the rows and, after these, `columns`, the
    columns with the answers. `digest` is the BLAKE3 digest of this file, and `bytes` its size. `refused` is the number
    of rows that the model's preparation refused: these rows have no answers. `broken_rules` has, for each rule of the
    preparation, the number of rows that it refused; a row may have broken several rules. `unseen` has, for each column
    of categories, the number of rows with a category that the model didn't learn from. `signature` is False if the
    model has no signature: then only the names of the columns were checked.
    """

    model: str
    version: int
    rows: int
    refused: int
    broken_rules: dict[str, int]
    unseen: dict[str, int]
    columns: tuple[str, ...]
    signature: bool
    file: str
    digest: str
    bytes: int


def predict(
    project: Project, word: str, rows: Path, to: Path | None, into: str, progress: Callable[[str, int, int], None]
) -> Predicted:
    """Ask a version of a model about the rows of a file, and write rows and answers to another file.

    `word` names the version. `rows` is the file with the rows, and `to` the file to write (None: a new file in the
    current folder). The names of the columns with the answers begin with `into`. `progress` is called with `rows`, the
    number of rows that are done, and the number of all rows.

    Raises:
        NotFoundError: there is no such model, version or alias.
        CodecError: the model is saved in a form that isn't safe to load.
        UsageError: a file can't be read or written, or the rows don't fit the model or its registered preparation.
    """
    named = address(word)
    if named is not None and named.kind != "model":
        raise UsageError(f"`{word}` is a {named.kind}, not a model", hint="`headrace models` lists the models")
    form = form_of(to, tuple(dict.fromkeys((rows.suffix.lower(), *SUFFIXES))), "predictions")
    _check_apart(rows, to)
    with views(project) as found:
        version = found.resolve("model", word if named is None else named.name)
    _check_data(version)
    given = TableInFile(rows)
    table = given.table
    if not table.num_columns and (not given.is_json or given.objects):
        raise UsageError(
            f"`{rows}` is empty: it has no columns", hint="a file without rows needs the names of the columns"
        )
    store = reading_store(project)
    signature = signature_in(version.out.signature)
    preparation: Any = version.preparation and Codecs().load(version.preparation, store)
    asked = _asked(version.out, store, f"model:{version.name}:{version.version}", preparation, signature)
    declared = _as_declared(given, preparation, signature)
    done = asked.answers(declared, into, lambda count, of: progress("rows", count, of))
    _check_names(table, done.table)
    answers = done.beside(table.num_rows)
    takes = asked.takes(table.column_names)
    taken = {*(table.column_names if takes is None else takes), *(preparation.columns if preparation else ())}
    with written(to, f"{rows.stem}-{into}{form}") as (path, aside):
        _write(given, taken, declared, answers, aside, form)
        digest, size = blake3(), aside.stat().st_size
        digest.update_mmap(aside)
    return Predicted(
        model=version.name,
        version=version.version,
        rows=table.num_rows,
        refused=0 if done.places is None else table.num_rows - len(done.places),
        broken_rules=done.broken,
        unseen=done.unseen,
        columns=tuple(answers.column_names),
        signature=signature is not None,
        file=str(path),
        digest=digest.hexdigest(),
        bytes=size,
    )


def _check_data(version: VersionView) -> None:
    """Raise UsageError if a version needs code of the project to answer, because commands don't run such code."""
    own = own_code_in(version.preparation)
    if own is not None:
        raise UsageError(
            f"`{version.name}:{version.version}` needs the project's function `{own.functions.name}` to answer, and"
            " commands don't run the project's code",
            hint=f"ask its endpoint (`headrace serve {version.name}`), or predict in a stage",
        )


def _check_apart(rows: Path, to: Path | None) -> None:
    """Raise UsageError if `to` and `rows` are the same file, even by different paths."""
    with suppress(OSError):  # one of them isn't there
        if to is not None and to.samefile(rows):
            raise UsageError(
                f"`--to {to}` would write over the rows", hint="give another path by `--to`, to keep the rows"
            )


def _asked(
    ref: Ref, store: Store, what: str, preparation: Preparation | None, signature: Signature | None
) -> Answering:
    from headrace.models.answering import Answering  # noqa: PLC0415  NumPy and Arrow, 0.2 s
    from headrace.models.model import model_of  # noqa: PLC0415  as above

    value: Any = Codecs().load(ref, store)
    if not hasattr(value, "predict"):
        raise UsageError(
            f"`{what}` is a `{type(value).__name__}`, which has no `predict`",
            hint="register an object with a `predict`; for an adapter of `train.finetune`, use the stage"
            " `train.predict`, which takes the adapter and its base model",
        )
    return Answering(model_of(value), preparation, signature)


def _as_declared(given: TableInFile, preparation: Preparation | None, signature: Signature | None) -> pa.Table:
    """Return the rows of a file. In a CSV file, types are guessed from the values, except in columns that `preparation`
    or `signature` takes as texts, such as postal codes: these columns are texts."""
    table = given.table
    if not given.is_csv:
        return table
    from headrace.models.types import is_text, kind_named, plain_type  # noqa: PLC0415  as in `_asked`

    takes = {each.name: each.type for each in signature.takes} if signature else {}
    for name, told in (takes | preparation.columns if preparation else takes).items():
        kind = kind_named(told)
        if name not in table.column_names or kind is None or not is_text(plain_type(kind)):
            continue
        place = table.column_names.index(name)
        texts = given.texts.column(place)
        if texts.null_count < len(texts):
            table = table.set_column(place, name, texts.fill_null(""))
    return table


def _check_names(table: pa.Table, answers: pa.Table) -> None:
    there = [name for name in answers.column_names if name in table.column_names]
    if there:
        raise UsageError(
            f"the rows have a column `{there[0]}` already", hint="name another column for the answers: `--into NAME`"
        )


def _write(
    given: TableInFile, taken: Collection[str], declared: pa.Table, answers: pa.Table, path: Path, form: str
) -> None:
    """Write the rows with their answers. From JSON to JSON, no value of the rows is changed."""
    if given.is_json and form in JSON_SUFFIXES and (rows := given.objects) is not None:
        pairs = zip(rows, answers.to_pylist(), strict=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json_lines((row | answer for row, answer in pairs), is_list=form == ".json"))
        return
    whole = given.carried(form, taken, declared)
    for name in answers.column_names:
        whole = whole.append_column(name, answers[name])
    write(whole, path, form)
