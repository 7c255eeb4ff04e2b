"""A registered model, applied to a file of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import DataError, UsageError, sentence
from headrace.inspect.get.addresses import address
from headrace.inspect.get.output_file import form_of, written
from headrace.inspect.get.table_file import JSON_SUFFIXES, SUFFIXES, json_lines, write
from headrace.operate.table_in_file import TableInFile
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.spec.artifact import Ref
from headrace.spec.signature import Signature, signature_in
from headrace.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.models.model import Model
    from headrace.stages.prepare._clean.preparation import Preparation

ROWS_AT_ONCE = 1 << 16
"""How many rows a model is asked about at a time."""
ROW = -2
"""The index of the column with the row numbers in a preparation's quarantine. The name of this column varies."""


class Predicted(Struct, frozen=True, kw_only=True):
    """What a model predicted for a file of rows.

    `columns` are the columns with the answers, and `file` has them beside the rows' own columns. `digest` is the BLAKE3
    digest of the file. `refused` is the number of rows that the model's preparation refused: these rows have no
    answers. `unseen` has, for columns of categories, the number of rows with a value that the model didn't learn from.
    `signature` is False if the model has no signature: then only the names of the columns were checked.
    """

    model: str
    version: int
    rows: int
    refused: int
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
    given = TableInFile(rows)
    table = given.table
    if not table.num_columns and (not given.is_json or given.objects):
        raise UsageError(
            f"`{rows}` is empty: it has no columns", hint="a file without rows needs the names of the columns"
        )
    store = reading_store(project)
    signature = signature_in(version.out.signature)
    asked = _model(version.out, store, f"model:{version.name}:{version.version}")
    preparation: Any = version.preparation and Codecs().load(version.preparation, store)
    declared = _as_declared(given, preparation, signature)
    prepared, places = _prepared(declared, preparation)
    answers, unseen = _answers(asked, prepared, signature, into, progress)
    answers = _beside(table, answers, places)
    takes = [each.name for each in signature.takes] if signature else asked.takes(table.column_names)
    taken = {*(table.column_names if takes is None else takes), *(preparation.columns if preparation else ())}
    with written(to, f"{rows.stem}-{into}{form}") as (path, aside):
        _write(given, taken, declared, answers, aside, form)
        digest, size = blake3(), aside.stat().st_size
        digest.update_mmap(aside)
    return Predicted(
        model=version.name,
        version=version.version,
        rows=table.num_rows,
        refused=0 if places is None else table.num_rows - len(places),
        unseen=unseen,
        columns=tuple(answers.column_names),
        signature=signature is not None,
        file=str(path),
        digest=digest.hexdigest(),
        bytes=size,
    )


def _check_apart(rows: Path, to: Path | None) -> None:
    """Raise UsageError if the file to write is the file with the rows, by whatever path."""
    with suppress(OSError):  # one of them isn't there
        if to is not None and to.samefile(rows):
            raise UsageError(
                f"`--to {to}` would write over the rows", hint="give another path by `--to`, to keep the rows"
            )


def _model(ref: Ref, store: Store, what: str) -> Model:
    from headrace.models.model import model_of  # noqa: PLC0415  NumPy and Arrow, 0.2 s

    value: Any = Codecs().load(ref, store)
    if not hasattr(value, "predict"):
        raise UsageError(
            f"`{what}` is a `{type(value).__name__}`, which has no `predict`",
            hint="register the model itself; give an adapter of `train.finetune` to `train.predict`, together with its"
            " base model",
        )
    return model_of(value)


def _as_declared(given: TableInFile, preparation: Preparation | None, signature: Signature | None) -> pa.Table:
    """Return the rows of a file. In a CSV file, types are guessed from the values, except in columns that `preparation`
    or `signature` takes as texts, such as postal codes: these columns are texts."""
    table = given.table
    if not given.is_csv:
        return table
    from headrace.models.types import is_text, kind_named, plain_type  # noqa: PLC0415  as in `_model`

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


def _prepared(table: pa.Table, preparation: Preparation | None) -> tuple[pa.Table, Any]:
    """Return the rows as the model takes them, and their positions in the file. The positions are None if no row was
    left out."""
    if preparation is None or not table.num_columns:
        return table, None
    import numpy as np  # noqa: PLC0415  as in `_model`

    absent = [name for name in preparation.columns if name not in table.column_names]
    try:
        prepared = preparation.apply(table, without=absent)  # such as the target; the model misses what it takes
    except DataError as error:
        raise UsageError(error.message, hint=error.hint) from error
    refused = np.asarray(prepared.quarantine.columns[ROW].to_numpy(), np.int64)
    return prepared.table, np.setdiff1d(np.arange(table.num_rows), refused) if len(refused) else None


def _answers(
    model: Model, rows: pa.Table, signature: Signature | None, into: str, progress: Callable[[str, int, int], None]
) -> tuple[pa.Table, dict[str, int]]:
    """Return the model's answers for rows and, for columns of categories, how many rows have a value that the model
    didn't learn from."""
    import pyarrow as pa  # noqa: PLC0415  as in `_model`

    from headrace.models.fitting import fitted, unseen  # noqa: PLC0415  as in `_model`

    strange: dict[str, int] = {}
    if not rows.num_columns:  # JSON without rows
        return _no_answers(signature, into), strange
    if signature is None:
        columns = model.takes(rows.column_names) or rows.column_names
    else:
        rows, columns = fitted(rows, signature.takes), [each.name for each in signature.takes]
        strange = unseen(rows, signature.takes)
    if not rows.num_rows:
        return _no_answers(signature, into), strange
    parts = []
    try:
        for start in range(0, rows.num_rows, ROWS_AT_ONCE):
            parts.append(pa.table(model.answers(rows.slice(start, ROWS_AT_ONCE), columns, into)))
            progress("rows", min(start + ROWS_AT_ONCE, rows.num_rows), rows.num_rows)
        return pa.concat_tables(parts), strange
    except pa.ArrowException as error:
        raise UsageError(
            f"the model's answers can't be the columns of a table: {sentence(error)}",
            hint="let the model give a class or a number for each row",
        ) from error


def _no_answers(signature: Signature | None, into: str) -> pa.Table:
    """Return a table without rows that has the columns of the model's answers. The model itself isn't called, because a
    library may refuse to predict for no rows."""
    import pyarrow as pa  # noqa: PLC0415  as in `_model`

    from headrace.models.scores import INTO  # noqa: PLC0415  as in `_model`
    from headrace.models.types import kind_named  # noqa: PLC0415  as in `_model`

    gives = signature.gives if signature else ()
    kinds = {into + each.name.removeprefix(INTO): kind_named(each.type) or pa.null() for each in gives}
    return pa.schema(kinds or {into: pa.null()}).empty_table()


def _beside(table: pa.Table, answers: pa.Table, places: Any) -> pa.Table:
    """Return a table with the answers for each row of the file, by position. A row without an answer has nulls."""
    import numpy as np  # noqa: PLC0415  as in `_model`
    import pyarrow as pa  # noqa: PLC0415  as in `_model`

    there = [name for name in answers.column_names if name in table.column_names]
    if there:
        raise UsageError(
            f"the rows have a column `{there[0]}` already", hint="name another column for the answers: `--into NAME`"
        )
    if places is None:
        return answers
    order = np.full(table.num_rows, -1)
    order[places] = np.arange(len(places))
    return answers.take(pa.array(order, mask=order < 0))


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
