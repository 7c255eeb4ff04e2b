"""A table with one row for each batch in the prediction logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table `prediction_batches`. It is empty, since no batches were logged before."""
    op.create_table(
        "prediction_batches",
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("given", sa.LargeBinary, nullable=False),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("first", sa.Float, nullable=False),
        sa.Column("last", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("run", TEXT, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "number", name="pk_prediction_batches"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_prediction_batches_task", "prediction_batches", ["run", "task", "identity"], unique=True)
