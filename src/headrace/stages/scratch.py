"""The folder where a stage writes the files that it returns."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headrace.define.ports import current


def scratch() -> Path:
    """Return the attempt's own folder, or a new temporary folder if the stage is called as a plain function."""
    return Path.cwd() if current() is not None else Path(tempfile.mkdtemp(prefix="headrace-"))
