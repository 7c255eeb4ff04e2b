"""The small example project that `headrace init` writes."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.errors import ProjectError

TEMPLATE = Path(__file__).with_name("template")
FILES = ("headrace.toml", "pipelines.py", "test_pipelines.py", ".gitignore")
"""The files of a new project. In the package, each file is called `NAME.txt`, without a leading dot, so that no tool
treats it as a part of the package."""


def make_project(folder: Path) -> tuple[Path, ...]:
    """Write a new project into a folder, and return its files. The folder is created if it doesn't exist.

    Raises:
        ProjectError: one of the files exists already (then nothing was written), or a file can't be written.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise ProjectError(
            f"`{folder}` has {' and '.join(f'`{name}`' for name in there)} already, which `init` doesn't overwrite",
            hint="give another folder: `headrace init NAME`",
        )
    files = tuple(folder / name for name in FILES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            text = (TEMPLATE / f"{file.name.lstrip('.')}.txt").read_text(encoding="utf-8")
            file.write_text(text.replace("NAME", json.dumps(folder.resolve().name)), encoding="utf-8")
    except OSError as error:
        raise ProjectError(
            f"`{folder}` can't be written: {error.strerror}", hint="give a folder that you may write to"
        ) from None
    return files
