"""A small project that runs at once, for `headrace init`."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.errors import ProjectError

TEMPLATE = Path(__file__).with_name("template")
FILES = ("headrace.toml", "pipelines.py", "test_pipelines.py", ".gitignore")
"""What a new project consists of. The package keeps each as `NAME.txt`, without the dot in front, so that no tool takes
them for a part of the package."""


def make_project(folder: Path) -> tuple[Path, ...]:
    """Write a new project into a folder, which is made where it isn't there, and return its files.

    Raises:
        ProjectError: one of the files is there already, or can't be written; nothing was written then.
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
