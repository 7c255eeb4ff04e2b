"""Runs the flights example as a team does: on PostgreSQL, S3 and a Ray cluster of several nodes, all started here.

    python -m examples.shared        # or: make shared

First it runs on this machine alone. Then the same pipeline runs on the servers, through `flights/fleet.toml`, and must
give the same values. Then it runs over three pools at once, one on this machine and two on the cluster, in two regions
(`flights/spread.toml`), and must give them again. Last, what this machine had made is brought into a ledger and a store
that are empty, and must be reused there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.servers.missing import Missing
from tests.servers.postgres import PASSWORD, Postgres
from tests.servers.ray import Ray
from tests.servers.s3 import S3

FLIGHTS = Path(__file__).with_name("flights")
COMMAND = str(Path(sys.executable).with_name("headrace"))
NODES = (2, 1, 2)
LABELS = ("region=eu", "region=eu", "region=us")
"""The cpus and labels of each node."""
MONTH = ("--month", "12")
POOLS = {"fleet": ("CLUSTER",), "moved": ("CLUSTER",), "spread": ("EU", "US")}
"""The Ray pools of each place's settings."""


class Place:
    """A copy of the project, and what its commands find in their environment."""

    def __init__(self, root: Path, environment: Mapping[str, str], overlay: Sequence[str] = ()) -> None:
        self.root = root
        self._environment = {**os.environ, **environment}
        self._overlay = overlay

    def headrace(self, *words: str) -> None:
        """Run a command, and show what it prints."""
        subprocess.run([COMMAND, *words, *self._overlay], cwd=self.root, env=self._environment, check=True)

    def show(self, run: str = "latest") -> dict[str, Any]:
        """Return a run as `headrace show --json` does."""
        words = [COMMAND, "show", run, "--json", *self._overlay]
        done = subprocess.run(words, cwd=self.root, env=self._environment, check=True, capture_output=True)
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown


def main() -> int:
    """Show it all; the exit code is 1 if a value differs, or if something ran that should have been reused."""
    with tempfile.TemporaryDirectory(prefix="headrace-shared-") as folder, ExitStack() as exits:
        root = Path(folder) / "flights"
        shutil.copytree(FLIGHTS, root, ignore=shutil.ignore_patterns(".headrace", "out", "__pycache__"))
        heading("On this machine alone")
        laptop = Place(root, {})
        laptop.headrace("run", "flights", *MONTH)

        heading(f"PostgreSQL, S3 and a Ray cluster of {len(NODES)} nodes are started")
        servers = exits.enter_context(started(Path(folder)))

        heading("The same pipeline on them, with a ledger and a store that are empty")
        fleet = Place(root, servers.environment("fleet"), ("--config", "fleet.toml"))
        fleet.headrace("doctor")
        fleet.headrace("run", "flights", *MONTH)
        same = compare(laptop.show(), fleet.show())

        heading("The same over three pools and two regions in one run")
        spread = Place(root, servers.environment("spread"), ("--config", "spread.toml"))
        spread.headrace("run", "flights", *MONTH)
        spread.headrace("show", "latest")
        spread.headrace("explain", "latest", "fit")
        same &= compare(laptop.show(), spread.show()) and places(spread.show())

        heading("The laptop's results, brought into another ledger and another store")
        moved = Place(root, servers.environment("moved"), ("--config", "fleet.toml"))
        laptop.headrace("ledger", "export", "laptop.tar")
        moved.headrace("ledger", "import", "laptop.tar")
        moved.headrace("run", "flights", *MONTH)
        done = ("reused", "skipped")
        ran = [task["name"] for task in moved.show()["tasks"] if task["state"] not in done]
        ran = [name for name in ran if name != "deploy_endpoint"]  # it changes the ledger, so it always runs
        print("all of it was reused" if not ran else f"these ran again: {', '.join(ran)}")
        return 0 if same and not ran else 1


class Servers:
    """The servers that run, and what a project's commands have to know of them."""

    def __init__(self, postgres: Postgres, s3: S3, ray: Ray) -> None:
        self._postgres = postgres
        self._s3 = s3
        self._ray = ray

    def environment(self, name: str) -> dict[str, str]:
        """Return an environment with an empty database and an empty bucket; the name is for people."""
        database = self._postgres.database().rpartition("/")[2]
        print(f"{name}: database `{database}`")
        return {
            **self._s3.environment,
            **self._ray.credentials,
            "PGPASSWORD": PASSWORD,
            "HEADRACE__LEDGER__URL": f"postgresql://postgres@127.0.0.1:{self._postgres.port}/{database}",
            "HEADRACE__STORE__URL": f"s3://{self._s3.bucket()}/flights",
            "HEADRACE__STORE__ENDPOINT": self._s3.endpoint,
            **{f"HEADRACE__POOL__{pool}__ADDRESS": self._ray.address for pool in POOLS[name]},
            **({"HEADRACE__REGION__US__STORE": f"s3://{self._s3.bucket()}/us"} if name == "spread" else {}),
            **({"HEADRACE__REGION__US__ENDPOINT": self._s3.endpoint} if name == "spread" else {}),
        }


@contextmanager
def started(folder: Path) -> Iterator[Servers]:
    """Start the servers, and end them in the end."""
    with ExitStack() as exits:
        began = time.monotonic()
        postgres = Postgres(folder / "postgres")
        exits.callback(postgres.stop)
        s3 = S3(folder / "s3")
        exits.callback(s3.kill)
        ray = Ray(cpus=NODES, labels=LABELS, environment=s3.environment)
        exits.callback(ray.stop)
        print(f"they took {time.monotonic() - began:.0f} s")
        yield Servers(postgres, s3, ray)


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Hold the digests of two runs' outputs against each other, task by task; say which differ."""
    theirs = {task["name"]: task for task in other["tasks"]}
    differ = []
    for task in one["tasks"]:
        mine, its = ([out["digest"] for out in each["outputs"]] for each in (task, theirs[task["name"]]))
        if mine != its:
            differ.append(task["name"])
    count = len(one["tasks"])
    print(f"the values of {count - len(differ)} of {count} tasks are the same")
    if differ:
        print(f"these differ: {', '.join(differ)}")
    return not differ


def places(run: Mapping[str, Any]) -> bool:
    """Say how many tasks ran in each pool, and what crossed regions; return whether each pool had some."""
    tasks = [task for task in run["tasks"] if task["attempts"]]
    counts = {pool: sum(task["pool"] == pool for task in tasks) for pool in ("laptop", "eu", "us")}
    moved = [output["bytes"] for task in tasks if task["kind"] == "transfer" for output in task["outputs"]]
    print(f"tasks by pool: {counts}; {len(moved)} transfers of {sum(moved) / 1e6:.1f} MB")
    return all(counts.values())


def heading(text: str) -> None:
    print(f"\n--- {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as missing:
        sys.exit(f"error: {missing}")
