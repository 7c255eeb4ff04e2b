"""The real command, run as a process in a project of its own; or only its command line, run in this process."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import shell
from tests.command import command, may_fork
from tests.projects import PATIENCE_S

COMMAND = [sys.executable, "-m", "headrace.cli.main"]

PIPELINES = '''
import headrace as hr


@hr.stage
def one(n: int) -> int:
    print("one is here")
    return n + 1


@hr.stage(kind="train")
def fit(x: int, *, depth: int) -> dict:
    if depth == 13:
        raise ValueError("depth 13 is unlucky")
    return {"auc": depth / 10, "x": x}


@hr.stage(kind="evaluate")
def best(reports: list[dict]) -> float:
    return max(report["auc"] for report in reports)


@hr.pipeline
def good(month: int = 1) -> None:
    """Fits three times."""
    best(fit.map(one(month), depth=[1, 2, 3]))


@hr.pipeline
def bad(month: int = 1) -> None:
    """Fails once."""
    best(fit.map(one(month), depth=[1, 13, 3]))
'''


@dataclass
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


HERE = {
    *("alias", "card", "compare", "cursors", "datasets", "endpoints", "explain", "get", "lineage", "models", "predict"),
    *("labels", "predictions", "promote", "register", "retire", "rollback", "route", "runs", "show", "tokens"),
    "withdraw",
}
"""The commands that start nothing and import nothing of a project."""


@dataclass
class Shell:
    """Runs commands in a folder, with nothing of the tests' own environment that they would heed.

    A command that starts nothing runs in this process, where all libraries are imported already: one that uses a
    library for models takes 0.1 s here, and 2 s as a process. `is_real` has it run as a process, too.
    """

    folder: Path
    is_real: bool = False

    def __call__(self, *arguments: str, **environment: str) -> Result:
        if not self.is_real and arguments[:1] and arguments[0] in HERE:
            return self._here(arguments, environment)
        heeded = self.environment(**environment)
        if not may_fork(arguments, heeded):
            ended = subprocess.run(
                [*COMMAND, *arguments],
                check=False,
                cwd=self.folder,
                env=heeded,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE_S,
            )
            return Result(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
        done = command(arguments, folder=self.folder, environment=heeded, within_s=PATIENCE_S)
        return Result(done.code, done.out.decode(), done.err.decode())

    def _here(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Result:
        heeded = self.environment(**environment)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name in os.environ.keys() - heeded.keys():
                patch.delenv(name)
            for name, value in heeded.items():
                patch.setenv(name, value)
            code = shell.run(arguments)
        return Result(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))

    def start(self, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a command, and don't wait for it."""
        settings = {"env": self.environment(), **settings}
        return subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, **settings)

    def on_terminal(self, *arguments: str, columns: int = 120) -> str:
        """Run a command whose stdout is a terminal so wide, and return what that shows."""
        leader, follower = pty.openpty()
        environment = self.environment(TERM="xterm", COLUMNS=str(columns), LINES="40", NO_COLOR="1")
        with subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=environment, stdout=follower) as process:
            os.close(follower)
            shown = b""
            while True:
                try:
                    shown += os.read(leader, 1 << 16)
                except OSError:  # a pseudo-terminal whose other side is closed
                    break
        os.close(leader)
        assert process.returncode == 0
        return shown.decode().replace("\r\n", "\n")

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        return kept | {"LANG": "C.UTF-8"} | more

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(text))


@dataclass
class Beginnings:
    """Runs commands in projects. Where it ran the same commands on the same files before, it copies what they left."""

    folders: pytest.TempPathFactory
    made: dict[tuple[object, ...], Path] = field(default_factory=dict)

    def __call__(self, project: Path, *commands: str) -> None:
        """Run each of these commands in a project that has no state yet. Each must succeed, or wait."""
        files = sorted(each for each in project.rglob("*") if each.is_file())
        kept = (commands, *((each.relative_to(project), each.read_bytes()) for each in files))
        if kept not in self.made:
            shell = Shell(self.folders.mktemp("begun"))
            shutil.copytree(project, shell.folder, symlinks=True, dirs_exist_ok=True)
            for words in commands:
                done = shell(*words.split())
                assert done.code in (0, 6), f"{words}: {done.out}{done.err}"  # a run that waits ends with 6
            self.made[kept] = shell.folder
        shutil.copytree(self.made[kept], project, symlinks=True, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Beginnings:
    """What tests of one file may begin with, so that what several begin with is run once."""
    return Beginnings(tmp_path_factory)


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    """A folder without a project."""
    return Shell(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Shell:
    """A project with a pipeline that succeeds and one that fails."""
    shell = Shell(tmp_path)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    return shell
