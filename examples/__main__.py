"""Runs the examples, and puts what they made where it can be looked at.

    python -m examples [NAME ...]        # or: make examples

Without a name it runs all but the heavy ones. Each keeps its state, its run as a page and its model's card under
`build/examples/NAME`; a second call reuses what has not changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER.parent / "build" / "examples"
COMMAND = str(Path(sys.executable).with_name("headrace"))
WORLD = "world.py"
"""A script of this name in an example's folder gives the world that its pipeline is run in: `world.py COMMAND`."""
WAITS = 6
"""The exit code of a run that waits for somebody's approval."""
HEAVY = {"language"}
"""Not run unless they are asked for by name."""


def main() -> int:
    """Run what is asked for; the exit code is 1 if one of them failed."""
    names = sorted(each.parent.name for each in FOLDER.glob("*/pipelines.py"))
    parser = argparse.ArgumentParser(prog="python -m examples", description="Run the examples.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; all but {', '.join(HEAVY)}")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in names]
    if unknown:
        parser.error(f"there is no example `{unknown[0]}`; there are {', '.join(names)}")
    failed = [name for name in given.names or sorted({*names} - HEAVY) if not run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str) -> bool:
    """Run an example, whose pipeline has its name; return whether all of it went well."""
    out = BUILD / name
    out.mkdir(parents=True, exist_ok=True)
    print(f"\n--- {name}", flush=True)
    began = time.monotonic()
    around = [sys.executable, WORLD] if (FOLDER / name / WORLD).exists() else []
    code = headrace(name, "run", name, around=around)
    if code == WAITS:
        code = headrace(name, "approve", "latest", "--why", "examples are run to the end")
    code = code or headrace(name, "show", "latest", "--html", "--to", str(out / "run.html"))
    code = code or headrace(name, "card", "latest", "--to", str(out / "card.html"))
    if not code:
        print(f"in {time.monotonic() - began:.0f} s: {out / 'run.html'}, {out / 'card.html'}", flush=True)
    return not code


def headrace(name: str, *words: str, around: Sequence[str] = ()) -> int:
    """Run a command in an example's folder, show what it prints, and return its exit code."""
    environment = {**os.environ, "HEADRACE_HOME": str(BUILD / name / "state")}
    return subprocess.run([*around, COMMAND, *words], cwd=FOLDER / name, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
