"""Withdraws labels of predictions."""

from __future__ import annotations

from headrace.errors import NotFoundError, UsageError, near
from headrace.inspect.endpoints.labels import WithdrawalView, labels
from headrace.inspect.views import read
from headrace.ledger.predictions import withdraw
from headrace.project.project import Project
from headrace.project.state import open_ledger


def withdraw_labels(project: Project, endpoint: str, source: str, *, why: str) -> WithdrawalView:
    """Withdraw all labels that a source of an endpoint has sent so far. They stay in the log, but no longer count.
    Labels that the source sends later count.

    Raises:
        NotFoundError: the endpoint has no labels of this source.
        UsageError: `why` is empty.
    """
    if not why.strip():
        raise UsageError("`--why` is empty", hint="say why these labels are wrong")
    with read(project) as views:
        sources = [each.source for each in labels(project, views, endpoint).sources]
    if source not in sources:
        hint = near(source, sources, "the sources are") if sources else "no source has sent any"
        raise NotFoundError(f"endpoint `{endpoint:.80}` has no labels of the source `{source:.80}`", hint=hint)
    with open_ledger(project) as ledger:
        row = withdraw(ledger, endpoint, source, by=ledger.user, why=why)
    return WithdrawalView(source=row.source, at=row.at, by=row.by, why=row.why)
