"""Builds an environment. uv or pip installs the packages of the lock into a temporary folder, which is then renamed to
its final place."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from msgspec.structs import replace

from headrace.errors import EnvironmentFailed
from headrace.spec.redaction import masked
from headrace.waits import locked
from headrace.work.environments.headrace_code import NAME
from headrace.work.environments.headrace_install import link, needed, packages_folder
from headrace.work.environments.pins import Pins

LIMIT_S = 3600.0
"""The most seconds that an installer may take."""
LOCK_S = LIMIT_S
"""How long to wait for another process that builds the same environment, in seconds."""
_LAST_LINES = 4
_UNREACHED = re.compile(
    r"error sending request|failed to fetch|dns error|name resolution|connection refused|newconnectionerror"
    r"|connecttimeout|connection timed out|network is unreachable|tcp connect error|max retries exceeded",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"no matching distribution|no solution found|could not find a version|not found in", re.IGNORECASE
)
_FULL = re.compile(r"no space left|disk quota|permission denied|read-only file system", re.IGNORECASE)
_ROOM = "make room there or allow writing, or set HEADRACE_CACHE to another folder on that machine"
_WRONG_HASH = re.compile(r"hash(es)? mismatch|do not match the hashes|in --require-hashes mode", re.IGNORECASE)


def build(pins: Pins, place: Path, *, uv: str | None) -> None:
    """Build an environment at `place`, unless it already exists. If `uv` is None, pip is used.

    If another process of this machine builds the same environment, wait for it, but at most `LOCK_S` seconds: it may
    be stopped. Then two processes may build the same environment, and only one of the results is kept.

    Raises:
        EnvironmentFailed: the installer failed, or there is none.
    """
    pins = replace(pins, pins=tuple(pin for pin in pins.pins if pin.name != NAME))
    ours = needed({pin.name: pin.version for pin in pins.pins})
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f".{place.name}.lock"), LOCK_S) as is_ours:
            if not is_whole(place):
                if is_ours:  # what another builder is making stays
                    for left in place.parent.glob(f".new-{place.name}-*"):
                        shutil.rmtree(left, ignore_errors=True)
                _build(pins, ours.values(), place, uv)
    except OSError as error:
        if not is_whole(place):  # without file locks, another process may have been faster
            raise EnvironmentFailed(
                f"no environment can be written to `{place.parent}`: {error.strerror or error}", hint=_ROOM
            ) from error


def _build(pins: Pins, ours: Iterable[Distribution], place: Path, uv: str | None) -> None:
    aside = place.with_name(f".new-{place.name}-{os.urandom(4).hex()}")
    try:
        _install(pins, aside, uv)
        for distribution in ours:
            link(distribution, packages_folder(aside))
        _settle(aside, place)
        os.rename(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_whole(place: Path) -> bool:
    """Return whether a complete environment is at `place`. Builds are renamed to `place` only when they are complete,
    so an incomplete one can't be there."""
    return python_of(place).exists()


def python_of(place: Path) -> Path:
    """Return the path of an environment's interpreter."""
    return place / "bin" / "python"


def _install(pins: Pins, aside: Path, uv: str | None) -> None:
    pip = uv is None and importlib.util.find_spec("pip") is not None
    if uv is not None:
        _call([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(aside)], pins)
        install = [uv, "pip", "install", "--quiet", "--python", str(python_of(aside)), "--no-deps"]
        if pins.options:  # safe, since each file is checked by its hash, whatever index it comes from
            install += ["--index-strategy", "unsafe-best-match"]
    else:
        _call([sys.executable, "-m", "venv", *(["--without-pip"] if pip else []), str(aside)], pins)
        python = [sys.executable, "-m", "pip", "--python", str(python_of(aside))] if pip else [str(python_of(aside))]
        install = [*python, *([] if pip else ["-m", "pip"]), "install", "--quiet", "--no-input", "--no-deps"]
        install += ["--disable-pip-version-check", "--no-warn-script-location", "--root-user-action", "ignore"]
    for hashed in (True, False):
        lines = [pin.line for pin in pins.pins if pin.hashed is hashed]
        if not lines:
            continue
        file = aside / f"requirements-{'hashed' if hashed else 'other'}.txt"
        file.write_text("\n".join([*pins.options, *lines, ""]))
        _call([*install, *(["--require-hashes"] if hashed else []), "-r", str(file)], pins)


def find_uv() -> str | None:
    """Return the path of uv, or None if uv isn't found. It is looked for next to this interpreter, then on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")


def _call(words: Sequence[str], pins: Pins) -> None:
    """Run an installer until it ends; raise `EnvironmentFailed` if it fails or takes too long."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            env=environment,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(
            f"an environment was not built from `{pins.file}` within {LIMIT_S:g} s",
            hint="check the speed of the connection to the package index, or put large packages into the installer's"
            " cache",
        ) from None
    if done.returncode:
        raise EnvironmentFailed(
            f"an environment can't be built from `{pins.file}`: {_last(done.stdout)}", hint=_hint(done.stdout)
        )


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return masked(" | ".join(lines[-_LAST_LINES:])) or "the installer said nothing"  # index URLs may hold passwords


def _hint(output: str) -> str:
    if _UNREACHED.search(output):
        return (
            "let that machine reach a package index (UV_INDEX_URL or PIP_INDEX_URL can name a mirror), or install the "
            'lock there yourself and set `environment = "present"` for its pool'
        )
    if _FULL.search(output):
        return _ROOM
    if _WRONG_HASH.search(output):
        return "lock again: the files in the index are not those that were locked"
    if _UNKNOWN.search(output):
        return (
            "lock again, for that machine's platform and Python too, and configure private indexes for uv or pip there"
        )
    if "No module named" in output or "ensurepip" in output:
        return "install `uv` on that machine, or Python's own `pip` and `venv`"
    return "install the lock by hand on that machine to see the whole error"


def _settle(aside: Path, place: Path) -> None:
    """Change the environment's scripts so that they use its final path."""
    old, new = os.fsencode(aside), os.fsencode(place)
    for path in [*(aside / "bin").iterdir(), aside / "pyvenv.cfg"]:
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if old in data and b"\0" not in data:
            path.write_bytes(data.replace(old, new))
