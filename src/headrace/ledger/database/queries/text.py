"""The text that SQLite and PostgreSQL run of the statements, and of the tables."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from headrace.ledger.database.queries.driving import kept_values, leasing, reads, sharing, writes
from headrace.ledger.database.queries.form import Statement, Target
from headrace.ledger.database.queries.tracking import registry, tracking
from headrace.ledger.database.queries.upkeep import keeping, scans
from headrace.ledger.database.queries.views import views
from headrace.ledger.database.tables import SCHEMA, is_for, metadata, revision

ALEMBIC = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic itself would make it, so that it finds a new ledger at the last revision."""

SQLITE = Target(
    name="SQLite",
    module="statements_sqlite",
    dialect=sqlite.dialect(paramstyle="qmark"),
    insert=sqlite.insert,
)
POSTGRES = Target(
    name="PostgreSQL",
    module="statements_postgres",
    dialect=PGDialect(paramstyle="format"),  # type: ignore[no-untyped-call]
    insert=postgresql.insert,
)

HERE = Path(__file__).parent.parent

HEAD = '''"""The text of the statements that {name} runs.

Made by `python -m headrace.ledger.database.queries`: don't edit. A comment names each statement's parameters, in order.
"""

from __future__ import annotations

SCHEMA = {schema}
'''

PORT = '''"""What statements there are, in whatever dialect.

Made by `python -m headrace.ledger.database.queries`: don't edit.
"""

from __future__ import annotations

from typing import Protocol


class Statements(Protocol):
    """The text of the statements, each with its parameters in the order in which a dialect's module names them."""

    SCHEMA: int
    CREATE: tuple[str, ...]
'''


def schema(to: Target) -> list[str]:
    """Give the text that makes an empty ledger, table by table."""
    found = []
    for table in metadata.sorted_tables:
        if is_for(table, to.dialect.name):
            found.append(str(CreateTable(table).compile(dialect=to.dialect)))
            found += [
                str(CreateIndex(index).compile(dialect=to.dialect))
                for index in sorted(table.indexes, key=lambda index: str(index.name))
                if is_for(index, to.dialect.name)
            ]
    return [*found, ALEMBIC, f"INSERT INTO alembic_version (version_num) VALUES ('{revision()}')"]


def common(to: Target) -> dict[str, Statement]:
    """Give the statements that each dialect has, by their names."""
    groups = (
        writes(to),
        reads(to),
        sharing(to),
        kept_values(to),
        tracking(to),
        registry(to),
        views(to),
        keeping(to),
        scans(),
    )
    return {name: statement for group in groups for name, statement in group.items()}


def sources() -> dict[Path, str]:
    """Give the text of the generated modules."""
    found = {HERE / "statements.py": PORT + "".join(f"    {name.upper()}: str\n" for name in common(SQLITE))}
    for to in (SQLITE, POSTGRES):
        found[HERE / f"{to.module}.py"] = source(to)
    return found


def source(to: Target) -> str:
    """Give the text of a dialect's module."""
    statements = common(to) | (dict(leasing(to)) if to.is_shared else {})
    parts = [HEAD.format(name=to.name, schema=SCHEMA)]
    parts += [_constant(to, name.upper(), statement) for name, statement in statements.items()]
    tables = "".join(f'    """\n{textwrap.indent(_tidy(text), "    ")}\n    """,\n' for text in schema(to))
    parts.append(f"CREATE: tuple[str, ...] = (\n{tables})\n")
    return "\n".join(parts)


def _constant(to: Target, name: str, statement: Statement) -> str:
    compiled = statement.compile(dialect=to.dialect)
    assert isinstance(compiled, SQLCompiler)
    mark = "%s" if to.is_shared else "?"
    names = []
    first, *rest = str(compiled).split(mark)
    text = first
    for parameter, piece in zip(compiled.positiontup or (), rest, strict=True):
        value = compiled.params[parameter]
        if value is None:
            names.append(parameter)
        text += (mark if value is None else repr(value)) + piece
    order = textwrap.fill(", ".join(names), 116, initial_indent="# ", subsequent_indent="# ") + "\n" if names else ""
    return f'{order}{name} = """\n{_tidy(text)}\n"""\n'


def _tidy(text: str) -> str:
    words = " ".join(text.split()).replace("( ", "(").replace(" )", ")").replace(" OFFSET 0", "")
    return textwrap.fill(words, 116, break_long_words=False, break_on_hyphens=False)
