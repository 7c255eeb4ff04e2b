"""A registered model, applied to a file of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from msgspec import Struct

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError, sentence
from headrace.inspect.get.addresses import address
from headrace.inspect.get.output_file import form_of, written
from headrace.inspect.get.table_file import SUFFIXES, write
from headrace.inspect.views import VersionView
from headrace.operate.table_in_file import table_in
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.spec.artifact import Ref
from headrace.spec.signature import Signature, signature_in
from headrace.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.models.model import Model

ROWS_AT_ONCE = 1 << 16
"""How many rows a model is asked about at a time."""
ROW = -2
"""Where the columns of a preparation's quarantine have the number of each row, whatever this column is called."""


class Predicted(Struct, frozen=True, kw_only=True):
    """What a model predicted for a file of rows.

    `columns` are the columns with the answers, and `file` has them beside the rows' own columns. `digest` is the BLAKE3
    digest of the file. `refused` is the number of rows that the preparation of the model's rows refused: they have no
    answers. `unseen` has, for columns of categories, the number of rows with a value that the model didn't learn from.
    `signature` is False if the model has none: then only its columns' names were checked.
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
        UsageError: a file can't be read or written, or the rows don't fit the model.
        DataError: the rows don't fit the preparation that is registered with the model.
    """
    named = address(word)
    if named is not None and named.kind != "model":
        raise UsageError(f"`{word}` is a {named.kind}, not a model", hint="`headrace models` lists the models")
    form = form_of(to, (rows.suffix.lower(), *SUFFIXES), "predictions")
    with views(project) as found:
        version = found.resolve("model", word if named is None else named.name)
    table = table_in(rows)
    store = reading_store(project)
    signature = signature_in(version.out.signature)
    asked = _model(version.out, store, f"model:{version.name}:{version.version}")
    prepared, places = _prepared(table, version, signature, asked, store)
    answers, unseen = _answers(asked, prepared, signature, into, progress)
    whole = _beside(table, answers, places)
    with written(to, f"{rows.stem}-{into}{form}") as (path, aside):
        write(whole, aside, form)
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


def _model(ref: Ref, store: Store, what: str) -> Model:
    from headrace.models.model import model_of  # noqa: PLC0415  NumPy and Arrow, 0.2 s

    value: Any = Codecs().load(ref, store, verify=True)
    if not hasattr(value, "predict"):
        raise UsageError(
            f"`{what}` is a `{type(value).__name__}`, which has no `predict`",
            hint="register the model itself; `train.predict` uses an adapter of `train.finetune` with its base model",
        )
    return model_of(value)


def _prepared(
    table: pa.Table, version: VersionView, signature: Signature | None, model: Model, store: Store
) -> tuple[pa.Table, Any]:
    """Return the rows as the model takes them, and the places that they have in the file. The places are None if these
    are all rows, in their order."""
    if version.preparation is None:
        return table, None
    import numpy as np  # noqa: PLC0415  as in `_model`

    preparation: Any = Codecs().load(version.preparation, store, verify=True)
    takes = [each.name for each in signature.takes] if signature else model.takes(table.column_names) or []
    absent = [name for name in preparation.columns if name not in table.column_names and name not in takes]
    prepared = preparation.apply(table, without=absent)  # such as the target, which isn't known yet
    refused = np.asarray(prepared.quarantine.columns[ROW].to_numpy(), np.int64)
    return prepared.table, np.setdiff1d(np.arange(table.num_rows), refused) if len(refused) else None


def _answers(
    model: Model, rows: pa.Table, signature: Signature | None, into: str, progress: Callable[[str, int, int], None]
) -> tuple[pa.Table, dict[str, int]]:
    """Return the model's answers for rows, and what `unseen` returns for the rows."""
    import pyarrow as pa  # noqa: PLC0415  as in `_model`

    from headrace.models.fitting import fitted, unseen  # noqa: PLC0415  as in `_model`

    if not rows.num_rows:
        raise UsageError("there are no rows to predict", hint="look at the file, and at what its preparation refuses")
    strange: dict[str, int] = {}
    if signature is None:
        columns = model.takes(rows.column_names) or rows.column_names
    else:
        rows, columns = fitted(rows, signature.takes), [each.name for each in signature.takes]
        strange = unseen(rows, signature.takes)
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


def _beside(table: pa.Table, answers: pa.Table, places: Any) -> pa.Table:
    """Return all rows of the file with their answers. A row that has no answer has nulls."""
    import numpy as np  # noqa: PLC0415  as in `_model`
    import pyarrow as pa  # noqa: PLC0415  as in `_model`

    there = [name for name in answers.column_names if name in table.column_names]
    if there:
        raise UsageError(
            f"the rows have a column `{there[0]}` already", hint="name another column for the answers: `--into NAME`"
        )
    if places is not None:
        order = np.full(table.num_rows, -1)
        order[places] = np.arange(len(places))
        answers = answers.take(pa.array(order, mask=order < 0))
    for name in answers.column_names:
        table = table.append_column(name, answers[name])
    return table
