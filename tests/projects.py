"""A real project in a temporary folder, and the real command run in it as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.command import command, may_fork

COMMAND = str(Path(sys.executable).with_name("headrace"))
MARK = "HEADRACE_TEST_MARK"
VARIABLES = "HEADRACE__RUN__VARIABLES"
SEEN = (MARK, "MARKER", "TROUBLE", "TOLD", "JOURNAL", "URL", "WEB", "TLS", "IN", "ENDPOINT", "CLOCK_*")
"""What pipelines of tests ask for, and so declare. Secrets are none of it."""
PATIENCE_S = 180.0
"""How long a command may take, or something may fail to come. It's long enough for a machine that is three times slower
than ours, and shorter than the `timeout` of pytest."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object that it printed."""
        return json.loads(self.out)

    @property
    def task(self) -> dict[str, Any]:
        """The tasks of the run that it printed, by name."""
        return {task["name"]: task for task in self.json["tasks"]}


@dataclass
class Project:
    """A project: its folder, and a mark in the environment of all processes that are begun in it.

    `prefix` are words before each command, such as those of a namespace.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    prefix: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        return self.root / ".headrace"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def headrace(self, *words: str, **more: Any) -> Done:
        """Run the command to its end."""
        environment = self._environment(more.get("also"))
        if self.prefix or more.keys() - {"folder", "also"} or not may_fork(words, environment):
            return finish(self.start(*words, **more))
        try:
            ended = command(words, folder=more.get("folder") or self.root, environment=environment, within_s=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}; stdout: {error.output!r}; stderr: {error.stderr!r}") from None
        return Done(ended.code, _text(ended.out), _text(ended.err))

    def start(
        self,
        *words: str,
        folder: Path | None = None,
        out: Any = subprocess.PIPE,
        err: Any = subprocess.PIPE,
        shell: str = "",
        also: Mapping[str, str] | None = None,
        **more: Any,
    ) -> subprocess.Popen[str]:
        """Begin the command, with nothing of the tests' own environment that it would heed.

        `shell` are words of a shell that redirect its streams; `also` stands in the environment of this command alone.
        """
        begin = ["sh", "-c", f'exec "$0" "$@" {shell}', COMMAND] if shell else [COMMAND]
        return subprocess.Popen(
            [*self.prefix, *begin, *words],
            cwd=folder or self.root,
            env=self._environment(also),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            errors="surrogateescape",
            **more,
        )

    def _environment(self, also: Mapping[str, str] | None) -> dict[str, str]:
        return {
            **_kept(),
            "LANG": "C.UTF-8",
            VARIABLES: json.dumps(SEEN),
            **self.environment,
            **(also or {}),
            MARK: self.mark,
        }

    def processes(self) -> list[str]:
        """Name the processes that live and carry the project's mark, whoever their parent is."""
        needle = f"{MARK}={self.mark}".encode()
        return [f"{pid} {_words(pid)}" for pid in _pids() if needle in _environment(pid)]

    def check_no_process_is_left(self, within_s: float = 30.0) -> None:
        """Wait until none lives, and fail if one goes on. What leaves by itself has 10 s for it."""
        wait_for(lambda: not self.processes(), within_s, lambda: f"still there: {self.processes()}")

    def kill_all(self) -> None:
        """Kill all of the project's processes, also those that are born meanwhile: bubblewrap's child, killed too late,
        would wait for its parent for ever."""

        def none_was_left() -> bool:
            alive = self.processes()
            for each in alive:
                with suppress(ProcessLookupError):
                    os.kill(int(each.split()[0]), signal.SIGKILL)
            return not alive

        wait_for(none_was_left, why=lambda: f"can't be killed: {self.processes()}")


@contextmanager
def lent(root: Path, toml: str = "") -> Iterator[Project]:
    """Return a project whose processes have all ended by themselves when its test has succeeded."""
    project = Project(root)
    project.write("headrace.toml", toml)
    try:
        yield project
        project.check_no_process_is_left()
    finally:
        project.kill_all()


def finish(process: subprocess.Popen[str], within_s: float = PATIENCE_S) -> Done:
    """Wait for a command's end."""
    try:
        out, err = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it didn't end in {within_s:g} s; stdout: {out}; stderr: {err}") from None
    return Done(process.returncode, out or "", err or "")


def wait_for(
    condition: Callable[[], Any], within_s: float = PATIENCE_S, why: Callable[[], str] = lambda: "it never came"
) -> Any:
    """Wait until a condition holds, looking again and again; return what it gave."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(why())
        time.sleep(0.01)
    return found


def check_error(done: Done, code: int, *parts: str, hint: str = "") -> None:
    """Check that a command said one thing: an error with these parts, and what to do about it; no traceback."""
    told = f"exit {done.code}\n{done.out}{done.err}"
    lines = done.err.splitlines()
    assert done.code == code, told
    assert [line.startswith("error: ") for line in lines].count(True) == 1, told
    assert "Traceback" not in done.err, told
    text = done.err.partition("error: ")[2]
    message, _, advice = text.partition("\nhint: ")
    for part in parts:
        assert part in message, f"`{part}` isn't in: {message}"
    assert advice, f"no hint: {told}"
    assert hint in advice, f"`{hint}` isn't in: {advice}"


def check_json_error(done: Done, code: int, *parts: str, hint: str = "", error: str = "") -> None:
    """Check that a command with `--json` printed one error object, and nothing on stderr."""
    told = f"exit {done.code}\n{done.out}{done.err}"
    assert done.code == code, told
    assert done.err == "", told
    found = done.json
    assert set(found) == {"error", "message", "hint"}, told
    assert found["hint"], told
    assert hint in found["hint"], told
    for part in parts:
        assert part in found["message"], f"`{part}` isn't in: {found['message']}"
    if error:
        assert found["error"] == error, told


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "TMPDIR") if name in os.environ}


def _text(printed: bytes) -> str:
    return printed.decode(errors="surrogateescape").replace("\r\n", "\n")


def _pids() -> Iterator[int]:
    yield from (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
