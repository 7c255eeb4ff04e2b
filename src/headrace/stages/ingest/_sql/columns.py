"""The columns of a query beside those of the rows that are held: the same ones, by name and type."""

from __future__ import annotations

from collections import Counter
from typing import Any

from headrace.errors import SourceError
from headrace.stages.ingest._sql.session import quoted
from headrace.stages.ingest._sql.statement import Statement


def in_order(statement: Statement, found: list[str], held: list[str], cursor: str) -> Statement:
    """Ask for a query's columns in the order of those that are held; they are the same ones, by their names.

    Raises:
        SourceError: they are not; or some of one name stand in another order, so it isn't known which is which.
    """
    _check_names(found, held, cursor)
    if found == held:
        return statement
    columns = ", ".join(map(quoted, held))
    return statement.inside(f"select {columns} from (", ") as headrace_columns")


def check_columns(found: Any, held: Any, key: list[str], watermark: str | None, cursor: str) -> None:
    """Refuse rows whose columns are not those of the rows that are held.

    Raises:
        SourceError: it names the column.
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
    """Refuse columns that came or went; and another order of those that have one name, in capitals or not.

    Raises:
        SourceError: it names them.
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
            f"the columns' order was {held} at the last read, and is {found}, and not each has a name of its own",
            hint=f"name them apart in the query, by `as`; {_anew(cursor)}",
        )


def _anew(cursor: str) -> str:
    return f"have the query give what it gave before; or begin anew, under another name than `{cursor}` by `cursor=`"
