"""Each page on a stage has an example, and it runs as the page says. `make docs` runs them, `make test` doesn't."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "stages"
FENCE = re.compile(r"^```(?P<kind>\w+)(?P<rest>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs (?P<module>\w+) -->")
TITLE = re.compile(r'title="(?P<name>[^"]+)"')


RUN = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +)?\d{8}-\w+-[0-9a-f]{4}")
"""What differs from run to run: its id, and the time before it in a table."""


class Command(NamedTuple):
    """What a reader types, and the lines that the page has below it: what comes out."""

    line: str
    output: list[str]


class Example(NamedTuple):
    """What a reader of a page would type: files by name, and commands."""

    files: dict[str, str]
    commands: list[Command]


def example_of(page: Path) -> Example:
    """Read a page's blocks: those with a title are files, lines of consoles that begin with `$` are commands."""
    example = Example({}, [])
    for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
        if title := TITLE.search(fence["rest"]):
            example.files[title["name"]] = fence["body"]
        elif fence["kind"] == "console":
            for line in fence["body"].splitlines():
                if line.startswith("$ "):
                    example.commands.append(Command(line[2:], []))
                elif line:
                    example.commands[-1].output.append(line)
    return example


def seen(text: str) -> list[str]:
    """Return what counts of an output's lines: blanks don't, nor which run it was."""
    lines = (" ".join(RUN.sub("RUN", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


@pytest.mark.pages
@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_example_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    for needed in NEEDS.finditer(page.read_text(encoding="utf-8")):
        if find_spec(needed["module"]) is None:
            pytest.skip(f"`{needed['module']}` isn't installed")
    example = example_of(page)
    assert example.files, f"{page.name} has no block with a title"
    assert any(each.line.startswith("headrace") for each in example.commands), f"{page.name} runs nothing"
    for name, text in example.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "headrace.toml").touch()
    for line, output in example.commands:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=_newcomer(),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        assert not output or seen(done.stdout) == seen("\n".join(output)), f"$ {line}\n{done.stdout}"


def _newcomer() -> dict[str, str]:
    """Return what a shell of a newcomer has: the commands of this environment, and nothing that steers Headrace."""
    here = str(Path(sys.executable).parent)
    return {"HOME": os.environ["HOME"], "LANG": "C.UTF-8", "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
