"""Seals the prediction log of this host: its closed segments go to the project's store and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.codec.codecs import Codecs
from headrace.inspect.endpoints.predictions import prediction_log, takes
from headrace.inspect.views import read
from headrace.ledger.predictions import record
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store
from headrace.serve.predictions.sealing import seal
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Part

if TYPE_CHECKING:
    import pyarrow as pa


def seal_predictions(project: Project) -> int:
    """Seal all closed segments of this host, and return how many predictions and labels they had.

    Raises:
        LogError, StoreError, LedgerError: the log, the store or the ledger can't be used. What isn't sealed stays on
            this host.
    """
    return seal(prediction_log(project), _Archive(project))


class _Archive:
    """The project's store and ledger, as sealing needs them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = open_store(project)
        self._codecs = Codecs()

    def takes(self, version: str) -> pa.Schema | None:
        """Return the columns that a version of a model takes, or None if they aren't known."""
        with read(self._project) as views:
            return takes(views, version)

    def put(self, table: pa.Table) -> Ref:
        """Store a table."""
        return self._codecs.save(table, self._store)

    def record(self, predictions: Sequence[Part], labels: Sequence[Part]) -> None:
        """Record parts in the ledger."""
        with open_ledger(self._project) as ledger:
            record(ledger, predictions, labels)
