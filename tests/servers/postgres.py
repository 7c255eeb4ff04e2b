"""A PostgreSQL server of its own, in a folder, on loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import psycopg

from tests.servers.missing import Missing
from tests.servers.ports import free_port

PASSWORD = "headrace-test"
ANSWER_S = 120.0


class Postgres:
    """A server whose superuser is `postgres`, with a password; it can be killed and started again."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = programs()
        self._fsync = fsync
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(secret),
            "--no-sync", "--encoding", "UTF8", "--locale", "C",
        )  # fmt: skip
        secret.unlink()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        real = "on" if self._fsync else "off"
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": real,
            "autovacuum": real,  # its own writes would change the version of a source in the middle of a test
            "max_connections": 200,
        }
        words = " ".join(f"-c {name}={value}" for name, value in options.items())
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self._call("pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", words, "start")

    def stop(self) -> None:
        """Stop it at once, in order."""
        if self.pid:
            self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """End it as a loss of power would, but for the operating system's memory."""
        if (pid := self.pid) is not None:
            doomed = [pid, *_children(pid)]
            for each in doomed:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            while any(map(_lives, doomed)):
                time.sleep(0.01)
            (self.folder / "data" / "postmaster.pid").unlink()  # one that nobody has reaped yet would look alive

    def suspend(self) -> None:
        """Stop all of its processes where they are: connections stay, and nobody is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have its processes go on that were stopped."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            for each in [pid, *_children(pid)]:  # the first begins others
                with suppress(ProcessLookupError):
                    os.kill(each, number)

    @property
    def pid(self) -> int | None:
        """Its first process, or None where it isn't running."""
        try:
            return int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None

    def database(self) -> str:
        """Make an empty database, and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as db:
            db.execute(f"create database {name}".encode())
        return self.url(name)

    def url(self, database: str, *, user: str = "postgres", password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def query(self, text: str, database: str = "postgres") -> str:
        """Run SQL as the superuser, for at most `ANSWER_S`; return the rows as `psql` prints them."""
        words = [self._programs / "psql", "-v", "ON_ERROR_STOP=1", "-Atc", text, self.url(database)]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=ANSWER_S).stdout.strip()

    def _call(self, *words: str) -> None:
        become: Sequence[str] = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        done = subprocess.run(
            [*become, self._programs / words[0], *words[1:]],
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {done.stderr}")


def programs() -> Path:
    """Return the folder of the newest PostgreSQL's programs.

    Raises:
        Missing: there is none.
    """
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if (there := shutil.which("initdb")) is not None:
        found.append(Path(there).parent)
    if not found:
        raise Missing("PostgreSQL's server is not installed: apt-get install postgresql")
    return max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))])


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
