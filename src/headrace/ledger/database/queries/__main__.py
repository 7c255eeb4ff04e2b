"""The ledger's statements, declared on its tables, and the text that SQLite and PostgreSQL run.

SQLAlchemy costs 110 to 150 ms to import, 80 us a tick and 9 us a lookup, so the hot path doesn't load it: this package
writes the text of each statement into a module for each dialect. After a change here or in `tables`, run

    python -m headrace.ledger.database.queries
"""

from __future__ import annotations

from headrace.ledger.database.queries.text import sources

if __name__ == "__main__":
    for target, text in sources().items():
        target.write_text(text, encoding="utf-8")
