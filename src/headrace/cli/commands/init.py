"""`headrace init`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli import options
from headrace.cli.terminal.terminal import say, tell
from headrace.operate.new_project import make_project


@click.command()
@click.argument("folder", metavar="[DIR]", type=options.FILE, default=".")
def command(folder: Path) -> int:
    """Writes `headrace.toml`, a pipeline of four stages with a test, and a `.gitignore` into DIR (by default the
    current folder). No file is overwritten.
    """
    for file in make_project(folder):
        say(str(file))
    step = "" if folder == Path() else f"cd {folder} && "
    tell(f"`{step}headrace run demand` runs it", label="hint:")
    return 0
