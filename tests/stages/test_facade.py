"""The faces of the packages of stages."""

from __future__ import annotations

import pydoc
from pathlib import Path

import pytest

from headrace.stages import evaluate, ingest, prepare, train
from tests.projects import lent


@pytest.mark.parametrize("package", [ingest, prepare, train, evaluate], ids=lambda package: package.__name__)
def test_all_that_a_face_names_is_there(package: object) -> None:
    for name in dir(package):
        assert getattr(package, name) is not None


def test_help_shows_what_a_stage_takes() -> None:
    shown = "".join(pydoc.plain(pydoc.render_doc(prepare.split)).split())  # in one line, or one for each parameter
    assert "split(table:'pa.Table',*,by:'By'='row',train:" in shown


def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with lent(tmp_path / "project") as project:
        text = """\
            import sys
            sys.modules["httpx"] = None  # as if it weren't installed
            import headrace as hr
            from headrace.stages import ingest

            @hr.pipeline
            def all() -> None:
                ingest.http("https://a.example/")
            """
        project.write("pipelines.py", text)
        done = project.headrace("run", "all")
        assert done.code == 2
        assert "`ingest.http` needs the library `httpx`, which isn't installed" in done.err
        assert "headrace[ingest]" in done.err
        assert "Traceback" not in done.err
