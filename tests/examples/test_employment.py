"""The employment example, on a part of its real data: a gate that refuses, a repaired model, and the letter."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.watch.rules import comparisons, parse
from tests.cli.people import team
from tests.projects import check_error, finish, lent
from tests.servers.postgres import Postgres

EXAMPLE = Path(__file__).parents[2] / "examples" / "employment"
COMMAND = str(Path(sys.executable).with_name("headrace"))
LEFT_OUT = shutil.ignore_patterns(".headrace", "__pycache__")


def run(folder: Path, *words: str) -> dict[str, Any]:
    project = shutil.copytree(EXAMPLE, folder / "employment", ignore=LEFT_OUT)
    environment = {**os.environ, "HEADRACE_HOME": str(folder / "state")}
    done = subprocess.run(
        [COMMAND, "run", "employment", *words, "--json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    got = [COMMAND, "get", found["run"], "letter", "--to", str(folder / "letter.html")]
    subprocess.run(got, cwd=project, env=environment, check=True, capture_output=True)
    return {each["name"]: each for each in found["tasks"]}


def test_the_letter_names_the_bounds_of_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    found = runpy.run_path(str(EXAMPLE / "pipelines.py"))
    asked = sys.modules["screening.letter"].ASKED
    bounds = [each.bound for each in comparisons(parse(found["RULE"]))]
    named = [float(each) for each in re.findall(r"\d+(?:\.\d+)?", asked.replace("in 100", ""))]
    assert [each if each < 1 else each / 100 for each in named] == bounds


def test_the_whole_way_on_a_part_of_the_people(tmp_path: Path) -> None:
    """With so few people neither model is known to keep the rule, so neither may be registered."""
    tasks = run(tmp_path, "--share", "0.06", "--models", "2")
    assert {name for name, each in tasks.items() if each["state"] == "skipped"} == {
        "register_model",
        "register_model[1]",
    }
    letter = (tmp_path / "letter.html").read_text()
    assert "May this model be used?" in letter
    assert "people judged rightly" in letter
    assert "isn&#x27;t known to hold" in letter or "isn't known to hold" in letter


@pytest.mark.heavy
@pytest.mark.timeout(1200)
def test_the_first_model_is_refused_and_the_repaired_one_waits_until_somebody_else_approves_it(
    tmp_path: Path, postgres: Postgres
) -> None:
    with lent(tmp_path) as project:
        shutil.copytree(EXAMPLE, project.root, ignore=LEFT_OUT, dirs_exist_ok=True)
        project.write("headrace.toml", '[project]\npipelines = ["pipelines.py"]\n')
        mark = team(postgres, project)
        first = finish(project.start("run", "employment", "--config", "ada.toml", "--json"), within_s=900)
        assert first.code == 6, first.err
        states = {each["name"]: each["state"] for each in first.json["tasks"]}
        assert (states["register_model"], states["register_model[1]"]) == ("skipped", "waiting")
        project.headrace("get", "latest", "letter", "--to", "letter.html", "--config", "ada.toml")
        assert "which breaks it" in (project.root / "letter.html").read_text()

        own = project.headrace("approve", "latest", "--why", "I trust me", "--config", "ada.toml")
        check_error(own, 4, f"`ada_{mark}` started run")
        done = project.headrace("approve", "latest", "--why", "a fair price", "--config", "bob.toml", "--json")
        assert done.task["register_model[1]"]["state"] == "succeeded"
        assert f"approved by bob_{mark}: a fair price" in done.task["register_model[1]"]["reason"]
        card = project.headrace("card", "model:employment@production", "--config", "ada.toml", "--json").json
        (told,) = card["approvals"]
        assert (told["authors"], told["by"], told["why"]) == ([f"ada_{mark}"], f"bob_{mark}", "a fair price")
        assert (told["asked"], told["decision"]) == ("risk-team", "approved")
        assert set(told["of"]) == {"model", "report"}
        assert told["of"]["model"] == card["digest"]
