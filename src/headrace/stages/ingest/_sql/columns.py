"""Checks that a query's columns have the names and types of the rows that its cursor holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from headrace.errors import SourceError
from headrace.stages.ingest._sql.session import quoted
from headrace.stages.ingest._sql.statement import Statement


def in_order(statement: Statement, found: list[str], held: list[str], cursor: str) -> Statement:
    """Return the query with its columns in the order of the columns that the cursor holds.

    `found` are the names of the query's columns, and `held` the names of the held columns.

    Raises:
        SourceError: the names differ; or the order changed and several columns have the same name, so the columns can't
            be matched.
    """
    _check_names(found, held, cursor)
    if found == held:
        return statement
    columns = ", ".join(map(quoted, held))
    return statement.inside(f"select {columns} from (", ") as headrace_columns")


def check_columns(found: Any, held: Any, key: list[str], watermark: str | None, cursor: str) -> None:
    """Check the schema of new rows (`found`) against the schema of the rows that the cursor holds (`held`, or None).

    Raises:
        SourceError: a column of the key or the watermark is missing or occurs twice, or a column was added, was removed
            or changed its type since the last read. The error names the column.
    """
    for name in [*key, *([watermark] if watermark else [])]:
        if found.names.count(name) != 1:
            count = "no column" if name not in found.names else "several columns"
            raise SourceError(
                f"the query gives {count} `{name}`", hint=f"its columns are {', '.join(f'`{n}`' for n in found.names)}"
            )
    if held is None:
        return
    _check_names(found.names, held.names, cursor)
    for field, before in zip(found, held, strict=True):
        if not field.type.equals(before.type):
            raise SourceError(
                f"column `{field.name}` was `{before.type}` at the last read, and is `{field.type}`",
                hint=_anew(cursor),
            )


def _check_names(found: list[str], held: list[str], cursor: str) -> None:
    """Check that the names of the columns are those of the last read.

    Raises:
        SourceError: a column was added or removed; or the order changed, and two columns have names that are equal
            apart from capital letters. The error names the columns.
    """
    gone, new = Counter(held) - Counter(found), Counter(found) - Counter(held)
    told = [
        f"column{'s' if len(names) > 1 else ''} {', '.join(f'`{name}`' for name in names)} "
        f"{'are' if len(names) > 1 else 'is'} {what} since the last read"
        for names, what in ((gone, "gone"), (new, "new"))
        if names
    ]
    if told:
        raise SourceError(" and ".join(told), hint=_anew(cursor))
    if found != held and len({name.lower() for name in found}) < len(found):
        raise SourceError(
            "the order of the columns has changed since the last read, and two columns have the same name"
            f" (capital and small letters count as equal): the order was {held}, and is now {found}",
            hint=f"give each column its own name in the query with `as`; {_anew(cursor)}",
        )


def _anew(cursor: str) -> str:
    return (
        f"make the query give the same columns as before; or read all rows again with another `cursor=` than `{cursor}`"
    )
