"""What the page on codecs shows works, and it names every codec."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from headrace.codec.registry import NAMES, Registry

PAGE = (Path(__file__).parents[2] / "docs" / "codecs.md").read_text()


def test_the_codec_on_the_page_passes_the_contract(tmp_path: Path) -> None:
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rivers.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_every_codec_is_on_the_page() -> None:
    assert sorted(each for each in {*NAMES, *Registry()._named, "parts"} if f"`{each}`" not in PAGE) == []
