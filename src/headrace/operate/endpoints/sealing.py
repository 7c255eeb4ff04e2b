"""Seals the prediction log of this host: its closed segments go to the project's store and ledger.

`python -m headrace.operate.endpoints.sealing` is the process of `seal_apart`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import spared
from headrace.inspect.endpoints.predictions import prediction_log, takes
from headrace.inspect.views import read
from headrace.ledger.erasures import erasure_of
from headrace.ledger.predictions import record
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store
from headrace.serve.predictions.sealing import seal
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Erasure, Part

if TYPE_CHECKING:
    import pyarrow as pa

_LENGTH_BYTES = 8
_LEAST_PRIORITY = 19


def seal_predictions(project: Project) -> int:
    """Seal all closed segments of this host, and return how many predictions and labels they had.

    Raises:
        LogError, StoreError, LedgerError: the log, the store or the ledger can't be used. What isn't sealed stays on
            this host.
    """
    return seal(prediction_log(project), _Archive(project))


def seal_apart(project: Project) -> None:
    """Do the same in a process of its own, which has the lowest priority and ends with this process. In a thread, it
    would hold up all other threads for a second a minute.

    Raises:
        HeadraceError: for the same reasons.
    """
    if next(prediction_log(project).closed(), None) is None:
        return
    words = [sys.executable, "-P", "-m", "headrace.operate.endpoints.sealing"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = pickle.dumps(project)
        process.stdin.write(len(told).to_bytes(_LENGTH_BYTES) + told)
        process.stdin.flush()  # it stays open: its end tells the process that this one has ended
        said = process.stdout.read().decode(errors="replace").splitlines()
    if process.returncode:
        raise HeadraceError(said[-1] if said else f"the process that seals ended with {process.returncode}")


def main() -> None:
    """Be the process that seals."""
    os.nice(_LEAST_PRIORITY)
    project = pickle.loads(sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(_LENGTH_BYTES))))
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        seal_predictions(project)
    except HeadraceError as error:
        sys.exit(error.message)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


class _Archive:
    """The project's store and ledger, as sealing needs them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = open_store(project)
        self._codecs = Codecs()

    @cached_property
    def _erasures(self) -> list[Erasure]:
        """All erasures of the ledger. They are read when the first segment is sealed."""
        with read(self._project) as views:
            return [erasure_of(row) for row in views.erasures()]

    def takes(self, version: str) -> pa.Schema | None:
        """Return the columns that a version of a model takes, or None if they aren't known."""
        with read(self._project) as views:
            return takes(views, version)

    def spared(self, endpoint: str, table: pa.Table) -> pa.Table:
        """Return the predictions of an endpoint without those of persons who were erased since."""
        for erasure in self._erasures:
            if erasure.endpoint == endpoint:
                table = spared(table, erasure)
        return table

    def put(self, table: pa.Table) -> Ref:
        """Store a table."""
        return self._codecs.save(table, self._store)

    def record(self, predictions: Sequence[Part], labels: Sequence[Part]) -> bool:
        """Record parts in the ledger, and return True; False if a person was erased meanwhile."""
        with open_ledger(self._project) as ledger:
            return record(ledger, predictions, labels, erasures={each.id for each in self._erasures})


if __name__ == "__main__":
    main()
