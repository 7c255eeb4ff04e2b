"""Where a stage writes the files that it gives out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from headrace.define.ports import current


def scratch() -> Path:
    """Return the attempt's own folder; for a stage that is called as a plain function, a new temporary one."""
    return Path.cwd() if current() is not None else Path(tempfile.mkdtemp(prefix="headrace-"))
