"""Disturbances of disks: one that is full, under the ledger, the store, or the worker's own files."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.faults.grounds import Ground
from tests.faults.reading import Both, Files
from tests.faults.rounds import Disturbance, Round


class FullDisk(Disturbance):
    """A small disk is filled to its last byte, and has room again later."""

    weight = 0.7
    uses = frozenset({"disk", "reuse"})

    def __init__(self) -> None:
        self._disk: Path | None = None

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return os.geteuid() == 0

    def mount(self, folder: Path, size: str = "6m") -> None:
        """Put a disk of its own under a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
        self._disk = folder

    def strike(self, now: Round) -> None:
        assert self._disk is not None
        fill(self._disk)

    def heal(self, now: Round) -> None:
        if self._disk is not None:
            (self._disk / "rest").unlink(missing_ok=True)

    def clear(self, now: Round) -> None:
        if self._disk is not None:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)
            self._disk = None


def fill(disk: Path) -> None:
    """Fill a disk to its last byte, by the file `rest`."""
    with (disk / "rest").open("wb", buffering=0) as rest:
        for piece in (bytes(1 << 20), bytes(4096)):
            with suppress(OSError):
                while True:
                    rest.write(piece)


class FullLedger(FullDisk):
    """The disk of an SQLite ledger is full; the store lies elsewhere."""

    name = "full disk: ledger"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.ledger == "sqlite"

    def ready(self, now: Round) -> None:
        self.mount(now.project.home, "3m")  # the write-ahead log alone may take a megabyte
        if now.place.ground.store == "folder":
            store = now.project.root.parent / "store"
            now.project.environment["HEADRACE__STORE__URL"] = str(store)
            far = [Files(now.project.root / "far-store")] if now.place.ground.pools else []
            now.place = replace(now.place, things=Both(Files(store), *far))


class FullServer(FullDisk):
    """The disk of PostgreSQL's tables is full."""

    name = "full disk: ledger"
    uses = frozenset({"disk", "reuse", "ledger"})

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.ledger == "postgres"

    def ready(self, now: Round) -> None:
        name = now.place.ledger.rpartition("/")[2]
        disk = now.project.root.parent / "tables"
        self.mount(disk, "16m")
        (disk / "space").mkdir()
        shutil.chown(disk / "space", "postgres", "postgres")
        now.world.postgres.query(f"create tablespace {name} location '{disk / 'space'}'")
        now.world.postgres.query(f"alter database {name} set tablespace {name}")

    def clear(self, now: Round) -> None:
        name = now.place.ledger.rpartition("/")[2]
        now.world.postgres.query(f"drop database if exists {name} with (force)")
        now.world.postgres.query(f"drop tablespace if exists {name}")
        super().clear(now)


class FullStore(FullDisk):
    """The disk of a folder store is full, on which workers have their own files too."""

    name = "full disk: store"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.store == "folder" and ground.backend == "local"

    def ready(self, now: Round) -> None:
        self.mount(now.place.local)


class FullWorker(FullDisk):
    """The disk is full on which workers have their own files; the store lies elsewhere."""

    name = "full disk: worker"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.store != "folder" and ground.backend == "local"

    def ready(self, now: Round) -> None:
        self.mount(now.place.local)


class FullS3(FullDisk):
    """The disk of the S3 server is full."""

    name = "full disk: store"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return super().fits(ground) and ground.store == "s3"

    def strike(self, now: Round) -> None:
        fill(now.world.s3.data)

    def heal(self, now: Round) -> None:
        """Free the disk, and start the server anew where it needs that, as its operator would."""
        (now.world.s3.data / "rest").unlink(missing_ok=True)
        if now.world.s3.is_shut:
            now.world.s3.stop()
            now.world.s3.start()

    def clear(self, now: Round) -> None:
        super().clear(now)
        self.heal(now)


class BadDisk(Disturbance):
    """The disk under a folder store gives errors for a while: what is synced or renamed there fails with EIO."""

    name = "disk reports EIO"
    weight = 0.7

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.store == "folder" and ground.backend == "local"

    def ready(self, now: Round) -> None:
        self._flag = now.project.root.parent / "eio"
        now.project.environment["EIO_FILE"] = str(self._flag)

    def strike(self, now: Round) -> None:
        self._flag.touch()

    def heal(self, now: Round) -> None:
        self._flag.unlink(missing_ok=True)
