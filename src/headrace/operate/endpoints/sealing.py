"""Seals the prediction log of this host: its closed segments go to the project's store and ledger.

`python -m headrace.operate.endpoints.sealing` is the command of the process that `seal_apart` starts.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING

from msgspec.structs import replace

from headrace.codec.codecs import Codecs
from headrace.errors import HeadraceError
from headrace.inspect.endpoints.person import about, ids_about, labels_about, without
from headrace.inspect.endpoints.predictions import prediction_log, takes
from headrace.inspect.views import read
from headrace.ledger.erasures import Spared, erasure_of, told_in
from headrace.ledger.predictions import record
from headrace.project.project import Project
from headrace.project.state import open_ledger, open_store
from headrace.serve.predictions.sealing import seal
from headrace.spec.artifact import Ref
from headrace.spec.endpoint import Erasure, Part

if TYPE_CHECKING:
    import pyarrow as pa

LIMIT_S = 600.0
"""How many seconds the process that seals may take. Usually it seals only what was logged in about a minute."""
_LENGTH_BYTES = 8
_LEAST_PRIORITY = 19


def seal_predictions(project: Project) -> int:
    """Seal all closed segments of this host, and return how many predictions and labels they had.

    Raises:
        LogError, StoreError, LedgerError: the log, the store or the ledger can't be used. What isn't sealed stays on
            this host.
    """
    return seal(prediction_log(project), _Archive(project))


def seal_apart(project: Project, *, limit_s: float = LIMIT_S) -> None:
    """Seal all closed segments of this host in a separate process, which has the lowest priority and ends when this
    process ends. If a thread of this process sealed them, it would block all other threads for about a second each
    minute.

    The process is killed after `limit_s` seconds. The segments that it has sealed by then stay sealed.

    Raises:
        HeadraceError: sealing failed (see `seal_predictions`), or the process was killed.
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
        late = Event()
        watch = Timer(limit_s, _stop, (process, late))
        watch.daemon = True
        watch.start()
        said = process.stdout.read().decode(errors="replace").splitlines()
        process.wait()
        watch.cancel()
    if process.returncode and late.is_set():
        places = f"the store `{open_store(project).url}` or the ledger"
        raise HeadraceError(
            f"sealing didn't end within {limit_s:g} s, so it was stopped: {places} doesn't answer, or is too slow",
            hint="check that the store and the ledger can be reached; sealing is tried again",
        )
    if process.returncode:
        raise HeadraceError(said[-1] if said else f"the process that seals ended with {process.returncode}")


def _stop(process: subprocess.Popen[bytes], late: Event) -> None:
    late.set()
    process.kill()


def main() -> None:
    """Seal all closed segments of the project that is read from stdin. The process that `seal_apart` starts runs this
    function."""
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
    """The project's store and ledger, with the methods that sealing calls."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = open_store(project)
        self._codecs = Codecs()
        self._spared = dict[str, Spared]()

    def takes(self, version: str) -> pa.Schema | None:
        """Return the columns that a version of a model takes, or None if they aren't known."""
        with read(self._project) as views:
            return takes(views, version)

    def spared(
        self, predictions: Mapping[str, pa.Table], labels: Mapping[str, pa.Table]
    ) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        """Return a segment's predictions and labels, by endpoint, without those of erased persons."""
        predictions, labels, self._spared = dict(predictions), dict(labels), {}
        with read(self._project) as views:
            rows = views.erasures()
        for row in rows:
            erasure, endpoint = erasure_of(row), row.endpoint
            spared = Spared(known=frozenset(told_in(row).digests))
            if endpoint in predictions:
                predictions[endpoint], spared = _without(predictions[endpoint], erasure, spared)
            if endpoint in labels:
                mask = labels_about(labels[endpoint], spared.known | spared.fresh, erasure)
                labels[endpoint] = without(labels[endpoint], mask) if mask.any() else labels[endpoint]
                spared = replace(spared, labels=int(mask.sum()))
            self._spared[erasure.id] = spared
        return predictions, labels

    def put(self, table: pa.Table) -> Ref:
        """Store a table, and return its artifact."""
        return self._codecs.save(table, self._store)

    def record(self, predictions: Sequence[Part], labels: Sequence[Part]) -> bool:
        """Record new parts in the ledger, with what `spared` has left out of them, and return True. If the ledger has a
        new erasure by now, so that more must be left out, record nothing and return False."""
        with open_ledger(self._project) as ledger:
            return record(ledger, predictions, labels, spared=self._spared)


def _without(table: pa.Table, erasure: Erasure, spared: Spared) -> tuple[pa.Table, Spared]:
    """Return a part of a log without the rows about an erased person, and `spared` with what was left out."""
    mask, doubtful = about(table, erasure)
    if not mask.any():
        return table, spared
    since = table.column("at").cast("int64").to_numpy()[mask].min() / 1e6
    fresh, unreadable = (frozenset(ids_about(table, each, erasure)) for each in (mask, doubtful))
    return without(table, mask), replace(spared, fresh=fresh, unreadable=unreadable, since=float(since))


if __name__ == "__main__":
    main()
