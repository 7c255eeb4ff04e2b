"""The grounds that rounds are played on: which ledger, which store, which backend; and a place of its own for each."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.checker import Identity, plain, values
from tests.faults.flow import PIPELINES, expected
from tests.faults.reading import Both, Files, Objects, Things, rows_of
from tests.projects import Project
from tests.servers.apart import Apart
from tests.servers.postgres import Postgres
from tests.servers.ray import Ray
from tests.servers.s3 import KEY, S3, SECRET

CLOCK = """\
import os
import sys
import time

words = " ".join(sys.orig_argv)
shift = float(os.environ.get("CLOCK_WORKER" if "headrace.work" in words else "CLOCK_DRIVER", "0"))
if shift:
    real = time.time
    time.time = lambda: real() + shift
if "EIO_FILE" in os.environ:
    def failing(call):
        def called(*given, **more):
            if os.path.exists(os.environ.get("EIO_FILE", "")):
                raise OSError(5, "Input/output error")
            return call(*given, **more)
        return called
    os.fsync, os.fdatasync, os.rename = map(failing, (os.fsync, os.fdatasync, os.rename))
if "GC_GRACE" in os.environ:
    import headrace.ledger.upkeep.gc
    headrace.ledger.upkeep.gc.GRACE_S = float(os.environ["GC_GRACE"])
"""
"""Python imports this first: it shifts the clock of drivers, or of workers, by what the environment says, and sets the
collector's grace time, since no clock of ours says how old a blob is."""


@dataclass(frozen=True)
class Ground:
    """A ledger (`sqlite`, `postgres`), a store (`folder`, `s3`) and a backend (`local`, `ray`).

    With `pools`, runs use two pools in two regions: `near` on this machine, and `far` on the backend.
    """

    ledger: str = "sqlite"
    store: str = "folder"
    backend: str = "local"
    pools: bool = False

    @classmethod
    def of(cls, name: str) -> Ground:
        """Read its name, such as `postgres+s3+ray`; what isn't said is as on a laptop."""
        words = name.split("+")
        ledger = next((word for word in words if word in ("sqlite", "postgres")), "sqlite")
        store = next((word for word in words if word in ("folder", "s3")), "folder")
        return cls(ledger, store, "ray" if "ray" in words else "local", pools="pools" in words)

    def __str__(self) -> str:
        more = [word for word, there in (("ray", self.backend == "ray"), ("pools", self.pools)) if there]
        return "+".join([self.ledger, self.store, *more])

    @property
    def sections(self) -> list[str]:
        """The names of the settings' pools."""
        if self.pools:
            return ["near", "far"]
        return ["local" if self.backend == "local" else "fleet"]


@dataclass(frozen=True)
class Place:
    """A project of its own on a ground, and where its rows and blobs lie."""

    ground: Ground
    project: Project
    journal: Path
    ledger: str
    things: Things

    @property
    def local(self) -> Path:
        """The folder of this machine in which workers have their scratch, logs and notes."""
        return self.project.home / ("store" if self.ground.store == "folder" else "local/local")

    def caches(self) -> list[Path]:
        """The folders in which this machine has copies of what lies in a store elsewhere."""
        return [] if self.ground.store == "folder" else [self.local / "cache"]


class World:
    """The servers that all rounds share, started when they are first needed and ended with all else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exits = ExitStack()
        self.suspects: dict[str, float] = {}
        (folder / "clock").mkdir(parents=True)
        (folder / "clock" / "sitecustomize.py").write_text(CLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exits.close()

    @cached_property
    def postgres(self) -> Postgres:
        server = Postgres(self.folder / "postgres")
        self.exits.callback(server.stop)
        return server

    @cached_property
    def s3(self) -> S3:
        """A server, on a disk of its own where we may make one."""
        folder = self.folder / "s3"
        if os.geteuid() == 0:
            (folder / "data").mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800m", "tmpfs", str(folder / "data")], check=True)
            self.exits.callback(subprocess.run, ["umount", "--lazy", str(folder / "data")], check=False)
        server = S3(folder)
        self.exits.callback(server.kill)
        return server

    @cached_property
    def ray(self) -> Ray:
        """A cluster of a head, which holds no worker, and two nodes that see our files."""
        cluster = Ray(cpus=(0, 2, 2), environment=self._of_nodes)
        self.exits.callback(cluster.stop)
        return cluster

    @cached_property
    def apart(self) -> Apart:
        """A machine at the other end of a link."""
        apart = Apart()
        self.exits.callback(apart.remove)
        return apart

    @cached_property
    def far(self) -> Ray:
        """A cluster on a machine apart."""
        cluster = Ray(cpus=(2,), host=self.apart.address, prefix=self.apart.prefix, environment=self._of_nodes)
        self.exits.callback(cluster.stop)
        return cluster

    @property
    def _of_nodes(self) -> dict[str, str]:
        return {"JOURNAL": str(self.journal), **self.s3.environment}

    @property
    def journal(self) -> Path:
        """What stages note on clusters, whose nodes have an environment of their own."""
        return self.folder / "journal"

    @cached_property
    def bucket(self) -> str:
        return self.s3.bucket()

    @cached_property
    def values(self) -> Mapping[int, Mapping[str, Identity]]:
        """What undisturbed runs make of each task, by the pipeline's parameter: on SQLite and a folder."""
        found = {}
        for scale in (1, 2):
            with self.place(Ground()) as place:
                done = place.project.headrace("run", "flow", "--scale", str(scale), "--json")
                assert done.code == 0, done
                with rows_of(place.ledger) as rows:
                    found[scale] = values(rows, place.things, done.json["run"])
                    given = plain(rows, place.things, done.json["run"])
                    given["drawn"] = len(given["drawn"])  # type: ignore[arg-type]
                    wrong = {
                        task: given.get(task) for task, value in expected(scale).items() if given.get(task) != value
                    }
                    assert not wrong, f"undisturbed, and otherwise than it was worked out: {wrong}"
                    assert given.keys() == expected(scale).keys(), given.keys() ^ expected(scale).keys()
        return found

    @contextmanager
    def place(self, ground: Ground) -> Iterator[Place]:
        """Return a project that nothing has been done in; its processes, rows and blobs are gone afterwards."""
        name = f"r{uuid.uuid4().hex[:10]}"
        folder = self.folder / name
        project = Project(folder / "project")
        journal = self.journal if ground.backend == "ray" else folder / "journal"
        project.write("pipelines.py", PIPELINES)
        journal.write_bytes(b"")
        project.environment |= {
            "JOURNAL": str(journal),
            "PYTHONPATH": os.pathsep.join([str(self.folder / "clock"), *_python_path()]),
        }
        with ExitStack() as exits:
            exits.callback(shutil.rmtree, folder, ignore_errors=True)
            exits.callback(project.kill_all)
            toml: list[str] = []
            ledger = f"sqlite:///{project.home / 'ledger.db'}"
            if ground.ledger == "postgres":
                ledger = exits.enter_context(self._database(name))
                toml += ["[ledger]", f'url = "{ledger}"']
            things: Things = Files(project.home / "store")
            if ground.store == "s3":
                things = Objects(self.bucket, name, endpoint=self.s3.endpoint, key=KEY, secret=SECRET)
                project.environment |= self.s3.environment
                toml += ["[store]", f'url = "s3://{self.bucket}/{name}"', f'endpoint = "{self.s3.endpoint}"']
            if ground.pools:
                things = Both(things, self._far(ground, project, name))
                toml += [
                    '[run]\npools = ["near", "far"]',
                    "[pool.near]\ncpu = 1",
                    '[pool.far]\nregion = "far"\ncpu = 2',
                ]
            if ground.backend == "ray":
                project.environment |= self.ray.credentials
                toml += [
                    *([] if ground.pools else ["[pool.fleet]", "cpu = 2"]),
                    'backend = "ray"',
                    f'address = "{self.ray.address}"',
                    "memory_gib = 2",
                ]
            if ground.pools:
                toml += ["[region.far]", f'store = "{self._far_url(ground, name)}"']
                toml += [f'endpoint = "{self.s3.endpoint}"'] if ground.store == "s3" else []
            project.write("headrace.toml", "\n".join(toml))
            yield Place(ground, project, journal, ledger, things)

    def _far_url(self, ground: Ground, name: str) -> str:
        """The store of the far region."""
        return f"s3://{self.bucket}/{name}-far" if ground.store == "s3" else "far-store"

    def _far(self, ground: Ground, project: Project, name: str) -> Things:
        """What lies in the far region."""
        if ground.store == "s3":
            return Objects(self.bucket, f"{name}-far", endpoint=self.s3.endpoint, key=KEY, secret=SECRET)
        return Files(project.root / "far-store")

    @cached_property
    def _template(self) -> str:
        """A database with the tables of a ledger, to make others from."""
        self.postgres.query("create database empty")
        project = Project(self.folder / "template" / "project")  # a ledger is that of one project, by its name
        project.write("headrace.toml", f'[ledger]\nurl = "{self.postgres.url("empty")}"')
        done = project.headrace("gc")
        assert done.code == 0, done
        return "empty"

    @contextmanager
    def _database(self, name: str) -> Iterator[str]:
        self.postgres.query(f"create database {name} template {self._template}")
        try:
            yield self.postgres.url(name)
        finally:
            self.postgres.query(f"drop database if exists {name} with (force)")


def _python_path() -> list[str]:
    return list(filter(None, [os.environ.get("PYTHONPATH")]))
