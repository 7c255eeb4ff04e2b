"""Environments for the libraries that we measure ourselves against: made on demand, and never in our lock."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent / "build" / "peers"


def python_with(*requirements: str) -> str:
    """Return the Python of an environment that has these installed; the first call takes a minute and the network.

    Raises:
        OSError: they can't be installed.
    """
    return str(_made(sorted(requirements)))


def _made(requirements: Sequence[str]) -> Path:
    names = "-".join(re.split(r"[^\w.]", each)[0] for each in requirements)
    folder = PLACE / f"{sys.version_info[0]}.{sys.version_info[1]}-{names}"
    python = folder / "bin" / "python"
    done = folder / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        words = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *requirements]
        if subprocess.run(words, check=False).returncode:
            raise OSError(f"can't install {', '.join(requirements)}")
        done.touch()
    return python
