"""Makes Headrace's own code available to a built environment. The environment gets the path of the folder from which
this process loaded the code."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "headrace"
_PACKAGE = Path(__file__).resolve().parents[2]


def code_folder(cache: Path) -> Path:
    """Return a folder in `cache` to put on an import path. It contains a link to the code of the Headrace that runs in
    this process, and nothing else that can be imported."""
    folder = cache / "code" / str(_PACKAGE).strip("/").replace("/", "-")
    place = folder / NAME
    if not place.is_symlink():
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{NAME}-{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(_PACKAGE)
        os.replace(aside, place)
    return folder
