"""Secrets in real runs: what a stage prints, raises and logs of them is masked wherever it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, lent

SECRET = 'p@ss/W0\'rd\\x%41 "ü"'
QUOTED = """\
import json
from urllib.parse import quote, quote_plus
import headrace as hr

@hr.stage
def quotes(secret: str) -> None:
    print(secret, repr(secret), ascii(secret), [f"'{secret}"])
    print(json.dumps({"password": secret}), json.dumps([secret], ensure_ascii=False))
    print(quote(secret), quote(secret, ""), quote_plus(secret))
    hr.log("warning", f"can't log in with {secret!r}")
    {}[secret]

@hr.pipeline
def flow() -> None:
    quotes(hr.secret("PASSWORD"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path) as project:
        yield project


def test_a_secret_is_masked_however_it_is_quoted(project: Project) -> None:
    project.write("flow.py", QUOTED)
    project.environment["PASSWORD"] = SECRET
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 1
    assert "KeyError: '********'" in done.err, done
    printed = project.headrace("logs", "latest", "quotes").out
    assert "can't log in with" in project.headrace("show", "latest").out
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    for part in ("W0", "rd\\", "x%41", "x%2541"):
        assert part not in done.out + done.err + printed, part
        assert part.encode() not in kept, part
