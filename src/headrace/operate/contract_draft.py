"""Contracts drafted from the table that a task returned, or from a table in a file."""

from __future__ import annotations

from pathlib import Path

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError
from headrace.inspect.get.get import find
from headrace.inspect.get.table_file import as_table
from headrace.operate.table_in_file import table_in
from headrace.project.project import Project
from headrace.project.state import reading_store, views
from headrace.spec.artifact import Ref
from headrace.spec.intent import TABLES


def draft_from_task(project: Project, run: str, task: str) -> str:
    """Return a contract, as TOML, for the table that a task returned. `task` is `TASK`, or `TASK.PART` for a part.

    Raises:
        NotFoundError: there is no such run, task or output.
        UsageError: the output isn't a table.
        CodecError: the output is stored in a form that runs code when it is read.
    """
    from headrace.stages.ingest._check.draft import draft  # noqa: PLC0415  NumPy, Arrow and DuckDB, 0.4 s

    with views(project) as found:
        ref = find(found, run, task)
    what = f"the output of `{task}`"
    if ref.codec not in TABLES and ref.codec != "pickle":
        raise _no_table(ref, what)
    return draft(as_table(Codecs().load(ref, reading_store(project)), what, with_index=False), task)


def draft_from_file(path: Path) -> str:
    """Return a contract, as TOML, for the table in a file: Arrow, Parquet, CSV, JSON or JSON Lines.

    Raises:
        UsageError: the file can't be read, or isn't a table.
    """
    from headrace.stages.ingest._check.draft import draft  # noqa: PLC0415  NumPy, Arrow and DuckDB, 0.4 s

    return draft(table_in(path), path.stem)


def _no_table(ref: Ref, what: str) -> UsageError:
    """Return the error for an artifact that isn't a table. Its hint names the parts that are tables."""
    pairs = zip(ref.names or (), ref.parts or (), strict=False)
    tables = ", ".join(f"`TASK.{name}`" for name, part in pairs if part.codec in TABLES)
    hint = "name a task, or a part of its output, that is a table"
    if tables:
        hint = f"name a part of it that is a table: {tables}"
    kind = ref.type.partition("@")[0].rpartition(".")[2]
    return UsageError(f"{what} is a `{kind}`, not a table", hint=hint)
