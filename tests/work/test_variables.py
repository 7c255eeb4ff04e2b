"""What stages and pipelines see of the environment of whoever begins a run, in real runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.backends.variables import seen
from tests.projects import VARIABLES, Project, lent

FLOW = """\
import os
import headrace as hr

TRACED = os.environ.get("DATA_FOLDER", "none")

@hr.stage
def look(traced: str) -> dict[str, str]:
    print(traced, os.environ.get("DATA_FOLDER", "none"), os.environ.get("LIMIT", "none"), os.environ)
    return dict(os.environ)

@hr.stage
def relies() -> str:
    return os.environ["DATA_FOLDER"]

@hr.pipeline
def flow() -> None:
    look(TRACED)

@hr.pipeline
def relying() -> None:
    relies()
"""
IMPORTING = """\
import os
import headrace as hr

FOLDER = os.environ["DATA_FOLDER"]

@hr.pipeline
def flow() -> None: ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path) as project:
        project.write("pipelines.py", FLOW)
        project.environment |= {"WAREHOUSE_PASSWORD": "hunter2hunter2", "DATA_FOLDER": "/data", "LIMIT": "3"}
        yield project


def test_stages_and_pipelines_see_nothing_that_is_not_declared_and_are_told_what_they_miss(project: Project) -> None:
    done = project.headrace("run", "flow")
    assert done.code == 0, done
    assert done.err.count("pipelines.py:4 asks for `DATA_FOLDER`, which is set here") == 1, done
    assert done.err.count("pipelines.py:8 asks for `LIMIT`, which is set here") == 1, done
    assert "WAREHOUSE" not in done.err
    printed = project.headrace("logs", "latest", "look").out
    assert printed.startswith("none none none")
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    assert b"hunter2" not in kept


def test_what_is_declared_is_seen_by_both(project: Project) -> None:
    project.write("headrace.toml", '[run]\nvariables = ["HEADRACE_TEST_MARK", "DATA_*", "LIMIT"]\n')
    project.environment[VARIABLES] = '["HEADRACE_TEST_MARK", "DATA_*", "LIMIT"]'
    for _ in range(2):  # the second run's workers are begun early, by what the first one noted
        done = project.headrace("run", "flow", "--force", "look")
        assert done.code == 0, done
        assert "asks for" not in done.err
        assert project.headrace("logs", "latest", "look").out.startswith("/data /data 3")


def test_a_stage_that_is_debugged_sees_the_same(project: Project) -> None:
    assert project.headrace("run", "flow").code == 0
    done = project.headrace("debug", "latest", "look")
    assert done.code == 0, done
    assert "hunter2" not in done.out + done.err
    assert "none none none" in done.out


def test_a_stage_that_fails_without_a_variable_says_how_it_is_declared(project: Project) -> None:
    done = project.headrace("run", "relying")
    assert done.code == 1
    assert 'stages see `DATA_FOLDER` once headrace.toml says `[run] variables = ["DATA_FOLDER"]`' in done.err, done


def test_an_error_whose_words_merely_hold_a_variables_name_is_not_laid_to_it(project: Project) -> None:
    failing = 'os.getenv("LIMIT")\n    return str("OFF LIMITS".index("on"))'
    project.write("pipelines.py", FLOW.replace('return os.environ["DATA_FOLDER"]', failing))
    done = project.headrace("run", "relying")
    assert done.code == 1
    assert "substring not found" in done.err
    assert "stages see `LIMIT`" not in done.err, done


def test_a_pipeline_that_can_t_be_imported_without_a_variable_says_how_it_is_declared(project: Project) -> None:
    project.write("pipelines.py", IMPORTING)
    done = project.headrace("run", "flow")
    assert done.code == 2
    assert 'once headrace.toml says `[run] variables = ["DATA_FOLDER"]`' in done.err, done


def test_a_name_that_no_variable_has_is_refused(project: Project) -> None:
    project.environment[VARIABLES] = '["DATA-*"]'
    done = project.headrace("run", "flow")
    assert done.code == 2
    assert "run.variables" in done.err, done


def test_the_variables_that_the_page_names_are_seen() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
    told = page.partition("What every program needs is")[2].partition(";")[0]
    names = re.findall(r"`([^`]+)`", told)
    assert len(names) > 15
    assert seen({name.replace("*", "X"): "" for name in names}).keys() == {name.replace("*", "X") for name in names}
    assert not seen({"LD": "", "PATHS": "", "HF_TOKEN": "", "AWS_ACCESS_KEY_ID": ""})


def test_a_key_is_seen_only_if_it_is_named_whatever_it_is_called() -> None:
    keys = dict.fromkeys(
        ("NVIDIA_API_KEY", "LD_SDK_KEY", "POLARS_CLOUD_CLIENT_SECRET", "PYTHON_REGISTRY_TOKEN"), "geheim"
    )
    assert not seen({**keys})
    assert seen({**keys, "NVIDIA_VISIBLE_DEVICES": "0"}, ["LD_SDK_KEY", "POLARS_*"]).keys() == {
        "LD_SDK_KEY",
        "POLARS_CLOUD_CLIENT_SECRET",
        "NVIDIA_VISIBLE_DEVICES",
    }
