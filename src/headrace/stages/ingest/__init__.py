"""Stages that read data (from databases, web services, files, logs and prediction logs), check tables against
contracts, and record labels: what really came of predictions."""

from __future__ import annotations

from headrace.facade import lazily

# Only type checkers read the imports below. At run time, each name is imported when it is first used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.ingest._check.check import Checked as Checked
    from headrace.stages.ingest._check.check import check as check
    from headrace.stages.ingest._check.contract import Column as Column
    from headrace.stages.ingest._check.contract import Contract as Contract
    from headrace.stages.ingest._check.contract import Fresh as Fresh
    from headrace.stages.ingest._check.contract import Reference as Reference
    from headrace.stages.ingest._check.contract import Relation as Relation
    from headrace.stages.ingest._check.contract import Rows as Rows
    from headrace.stages.ingest._check.contract import Unique as Unique
    from headrace.stages.ingest._feedback import feedback as feedback
    from headrace.stages.ingest._files.files import files as files
    from headrace.stages.ingest._http.http import http as http
    from headrace.stages.ingest._http.pages import Pages as Pages
    from headrace.stages.ingest._logs.logs import logs as logs
    from headrace.stages.ingest._predictions import predictions as predictions
    from headrace.stages.ingest._sql.sql import sql as sql
    from headrace.stages.ingest._sql.stages import Grown as Grown

PLACES = {
    "Checked": "headrace.stages.ingest._check.check",
    "Column": "headrace.stages.ingest._check.contract",
    "Contract": "headrace.stages.ingest._check.contract",
    "Grown": "headrace.stages.ingest._sql.stages",
    "Fresh": "headrace.stages.ingest._check.contract",
    "Pages": "headrace.stages.ingest._http.pages",
    "Reference": "headrace.stages.ingest._check.contract",
    "Relation": "headrace.stages.ingest._check.contract",
    "Rows": "headrace.stages.ingest._check.contract",
    "Unique": "headrace.stages.ingest._check.contract",
    "check": "headrace.stages.ingest._check.check",
    "feedback": "headrace.stages.ingest._feedback",
    "files": "headrace.stages.ingest._files.files",
    "http": "headrace.stages.ingest._http.http",
    "logs": "headrace.stages.ingest._logs.logs",
    "predictions": "headrace.stages.ingest._predictions",
    "sql": "headrace.stages.ingest._sql.sql",
}
KEPT = {
    "Held": "headrace.stages.ingest._sql.stages",
    "Lines": "headrace.stages.ingest._logs.logs",
    "Listing": "headrace.stages.ingest._files.files",
    "Logs": "headrace.stages.ingest._logs.logs",
    "Look": "headrace.stages.ingest._files.locations",
    "Part": "headrace.stages.ingest._files.files",
    "Reading": "headrace.stages.ingest._files.files",
    "Recorded": "headrace.stages.ingest._feedback",
    "Sealed": "headrace.stages.ingest._predictions",
}
"""Classes whose names are stored in artifacts. Only Headrace creates their objects.

Artifacts name such a class by this module: `headrace.stages.ingest.Held`. This name must not change, even when the
class moves to another file.
"""
__all__ = sorted(PLACES)  # noqa: PLE0605  it is a list, made from the one table of names
__getattr__ = lazily(__name__, PLACES | KEPT)


def __dir__() -> list[str]:
    return __all__
