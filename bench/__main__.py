"""`python -m bench [NAME ...] [--rounds N] [--json]`: run benchmarks and print their table."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from bench.apart import apart
from bench.table import Row, json, report, text

BENCHMARKS = {
    "start": "the whole process of a run with one integer stage",
    "fan": "a fan of 1,000 short tasks",
    "chain": "a chain of 1,000 durable steps",
    "reuse": "the same chain, all of it reused",
    "handoff": "a table of 400 MB from stage to stage",
    "serve": "endpoints that answer, beside FastAPI and LitServe",
    "loader": "batches of a stored table, compared with NumPy on memory maps",
    "checkpoint": "checkpoints of 500 MB while a model is trained",
    "share": "the framework's share of a training of 60 s",
    "store": "a bucket: 1 GB, and 1,000 blobs of 1 KB",
    "ledger": "PostgreSQL: a fan of 1,000 tasks, and 16 drivers at once",
    "log": "100,000 numbers logged in a loop",
    "resume": "a run of 10,000 tasks, 9,000 of them done",
    "adopt": "a takeover of 16 busy local workers",
    "claims": "a run's share of a pool, among 3,000 claims",
    "views": "show and runs over a large ledger",
    "collect": "gc over a million blobs",
    "sql": "ingest.sql: 5,000,000 rows from SQLite and PostgreSQL, and an increment of 1%",
    "ray": "a fan and a handoff on a Ray cluster",
    "contract": "a contract, checked on 10,000,000 rows of 20 columns",
    "bootstrap": "1,000 resamples of 1,000,000 rows: AUC and log loss",
    "judge": "evaluate.classification of 50,000 rows",
    "transform": "10,000,000 rows through DuckDB's SQL",
    "batch": "deploy.batch of 10,000,000 rows: LightGBM and a logistic regression",
    "machine": "state machine and planner on 100,000 tasks",
}
"""Each is a module of this package with `rows(folder, rounds)`, which gives its rows. `folder` is an empty one, on the
disk that the repository is on: memory would make the floors too good."""

PLACE = Path(__file__).resolve().parent.parent / "build" / "bench"


def main() -> None:
    """Run what is asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Headrace and its floors.")
    told = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=told.replace("%", "%%"))
    parser.add_argument("--rounds", type=int, default=7, help="how often each side is measured, in turns (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark `{unknown[0]}`; there are {', '.join(BENCHMARKS)}")
    failed: list[str] = []
    made = report(measure(given.names or list(BENCHMARKS), given.rounds, failed))
    print(json(made).decode() if given.json else text(made))
    if failed:
        sys.exit(f"error: these benchmarks failed: {', '.join(failed)}")


def measure(names: list[str], rounds: int, failed: list[str]) -> Iterator[Row]:
    """Run benchmarks one after another; say on stderr which is at work, since some take a minute. The
    name of one that fails is added to `failed`, and the others still run."""
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"{name}: {BENCHMARKS[name]} ...", file=sys.stderr, flush=True)
        try:
            yield from apart(name, PLACE, rounds)
        except Exception:  # noqa: BLE001  a benchmark's own
            failed.append(name)
            traceback.print_exc()


if __name__ == "__main__":
    main()
