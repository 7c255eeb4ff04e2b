"""Answers the checker's questions about the tables whose rows live between runs."""

from __future__ import annotations

from collections.abc import Container, Iterator

from headrace.ledger import generations
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation
from headrace.ledger.standing.declaration import Row, Standing
from headrace.ledger.standing.tables import STANDING


def needing(db: Database, bad: Container[Generation]) -> dict[Generation, dict[str, str | None]]:
    """Return, for each generation in `bad` that standing rows need, the names of these rows (such as "cursor `seen`"),
    each with its table's advice for a lost artifact, or None."""
    found: dict[Generation, dict[str, str | None]] = {}
    for table in STANDING:
        for row in table.kept(db):
            advice = None if table.lost is None else table.lost(row)
            for out in table.encoded(row):
                for digest, nonce, *_ in generations.of_output(generations.STANDING, out):
                    if (digest, nonce) in bad:  # a row may need a blob twice, as in a version and its report
                        found.setdefault((digest, nonce), {})[table.called(row)] = advice
    return found


def dangling(db: Database) -> Iterator[tuple[Standing, Row]]:
    """Yield each standing row that points at a missing row. Each comes with its table."""
    for table in STANDING:
        if table.target is not None:
            for page in scan.chunks(table.rows(db)):
                with db.troubles():
                    found = table.lacking(db, page)
                yield from ((table, row) for row in found)
