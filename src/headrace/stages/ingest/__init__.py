"""Stages that bring data in: from databases, web services, files and logs."""

from __future__ import annotations

from headrace.facade import lazily

# Type checkers read the imports below; a process that runs loads what it uses.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.ingest.contract.check import Checked as Checked
    from headrace.stages.ingest.contract.check import check as check
    from headrace.stages.ingest.contract.contract import Column as Column
    from headrace.stages.ingest.contract.contract import Contract as Contract
    from headrace.stages.ingest.contract.contract import Fresh as Fresh
    from headrace.stages.ingest.contract.contract import Reference as Reference
    from headrace.stages.ingest.contract.contract import Relation as Relation
    from headrace.stages.ingest.contract.contract import Rows as Rows
    from headrace.stages.ingest.contract.contract import Unique as Unique
    from headrace.stages.ingest.database.sql import sql as sql
    from headrace.stages.ingest.database.stages import Grown as Grown
    from headrace.stages.ingest.folders import files as files
    from headrace.stages.ingest.logfiles import logs as logs
    from headrace.stages.ingest.pages import Pages as Pages
    from headrace.stages.ingest.web import http as http

PLACES = {
    "Checked": "headrace.stages.ingest.contract.check",
    "Column": "headrace.stages.ingest.contract.contract",
    "Contract": "headrace.stages.ingest.contract.contract",
    "Grown": "headrace.stages.ingest.database.stages",
    "Fresh": "headrace.stages.ingest.contract.contract",
    "Pages": "headrace.stages.ingest.pages",
    "Reference": "headrace.stages.ingest.contract.contract",
    "Relation": "headrace.stages.ingest.contract.contract",
    "Rows": "headrace.stages.ingest.contract.contract",
    "Unique": "headrace.stages.ingest.contract.contract",
    "check": "headrace.stages.ingest.contract.check",
    "files": "headrace.stages.ingest.folders",
    "http": "headrace.stages.ingest.web",
    "logs": "headrace.stages.ingest.logfiles",
    "sql": "headrace.stages.ingest.database.sql",
}
KEPT = {
    "Held": "headrace.stages.ingest.database.stages",
    "Lines": "headrace.stages.ingest.logfiles",
    "Listing": "headrace.stages.ingest.folders",
    "Logs": "headrace.stages.ingest.logfiles",
    "Look": "headrace.stages.ingest.places",
    "Part": "headrace.stages.ingest.folders",
    "Reading": "headrace.stages.ingest.folders",
}
"""Classes that artifacts name, and nobody makes but Headrace: their names here stay too, wherever they lie."""
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names
__getattr__ = lazily(__name__, PLACES | KEPT)


def __dir__() -> list[str]:
    return __all__
