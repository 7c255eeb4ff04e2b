"""How the words of `headrace run` are read."""

from __future__ import annotations

import pytest

from headrace.cli.commands.plan import command as plan
from headrace.cli.commands.run import command as run
from headrace.cli.parameters import split
from headrace.errors import UsageError
from headrace.spec.policy import OURS
from tests.cli.conftest import Shell


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["f"], {}),
        (["f", "--month", "3"], {"month": "3"}),
        (["f", "--month=3"], {"month": "3"}),
        (["f", "--name="], {"name": ""}),
        (["f", "--expression=a=b"], {"expression": "a=b"}),
        (["f", "--shift", "-3"], {"shift": "-3"}),
        (["f", "--shift", "-.5"], {"shift": "-.5"}),
        (["f", "--horizon-h", "6"], {"horizon_h": "6"}),
        (["f", "--fast"], {"fast": "true"}),
        (["f", "--fast", "--month", "3"], {"fast": "true", "month": "3"}),
        (["f", "--path", "-"], {"path": "-"}),
        (["f", "--text", "two words"], {"text": "two words"}),
        (["--month", "3", "f"], {"month": "3"}),
    ],
)
def test_options_are_parameters_of_their_names(words: list[str], found: dict[str, str]) -> None:
    assert split("run", words) == ("f", found)


def test_what_collides_is_given_as_a_pair() -> None:
    assert split("run", ["f"], ["only=x", "text=a=b"]) == ("f", {"only": "x", "text": "a=b"})


@pytest.mark.parametrize(
    ("words", "pairs", "message"),
    [
        ([], [], "name is missing"),
        (["--month", "3"], [], "name is missing"),
        (["f", "3"], [], "`3`"),
        (["f", "--month", "3", "--month", "4"], [], "given twice"),
        (["f", "--month", "3"], ["month=4"], "given twice"),
        (["f"], ["month"], "NAME=VALUE"),
        (["f"], ["=3"], "NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_told(words: list[str], pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        split("run", words, pairs)
    assert caught.value.hint


TEXTS = """
from typing import Optional

import headrace as hr


@hr.stage
def show(cursor: str | None, name: Optional[str], fast: bool) -> str:
    return f"{cursor} {name} {fast}"


@hr.pipeline
def texts(cursor: str = "c", file_name: str | None = None, fast: bool = False) -> None:
    show(cursor, file_name, fast)
"""


def test_a_text_without_a_value_is_refused(project: Shell) -> None:
    project.write("pipelines.py", TEXTS)
    for command, words, name in (
        ("run", ["texts", "--cursor"], "cursor"),
        ("plan", ["pipelines.py:texts", "--file-name", "--fast"], "file_name"),
    ):
        wrong = project(command, *words)
        assert wrong.code == 2
        assert f"parameter `{name}` of pipeline `texts` is a text, and is given without a value" in wrong.err
        option = f"--{name.replace('_', '-')} VALUE"
        assert f"hint: give it as `{option}`: an option without a value is `true`" in wrong.err
    for words in (["--cursor", "true"], ["--cursor=true"], ["--fast"], ["--param", "cursor=true", "--fast"]):
        assert project("plan", "texts", *words).code == 0


CLASH = """
import headrace as hr


@hr.stage
def show(timeout: int, json: bool, pool: str, help: str) -> str:
    return f"{timeout} {json} {pool} {help}"


@hr.pipeline
def clash(timeout: int, json: bool = False, pool: str = "p", help: str = "h") -> None:
    show(timeout, json, pool, help)
"""
WAY = "`--{0}` is an option of the command; the pipeline's parameter is given as `--param {0}=...`"


def test_a_parameter_of_an_options_name_is_told_the_way_that_works(project: Shell) -> None:
    project.write("pipelines.py", CLASH)
    missing = project("run", "clash")
    assert (missing.code, "hint: give it as `--param timeout=3`" in missing.err) == (2, True)
    for words, name in (
        (["--timeout", "5"], "timeout"),
        (["--param", "timeout=5", "--pool", "x"], "pool"),
        (["--param", "timeout=5", "--json=true"], "json"),
    ):
        wrong = project("run", "clash", *words)
        assert (wrong.code, WAY.format(name) in wrong.err + wrong.out) == (2, True), (words, wrong)
    taken = project("plan", "clash", "--param", "timeout=5", "--timeout", "5m")
    assert (taken.code, WAY.format("timeout") in taken.err) == (0, False)
    noted = project("plan", "clash", "--timeout", "5m", "--param", "timeout=5", "--pool", "local")
    assert (noted.code, WAY.format("pool") in noted.err) == (0, True)
    shown = project("run", "clash", "--help").out
    assert "--param timeout=..." in shown
    assert "--param json=..." in shown


def test_param_gives_each_parameter_whatever_its_name_to_each_command(project: Shell) -> None:
    project.write("pipelines.py", CLASH)
    words = [f"--param={pair}" for pair in ("timeout=5", "json=true", "pool=x", "help=y")]
    assert project("run", "clash", *words).code == 0
    assert "5 True x y" in (project.folder / project("get", "latest", "show").out.strip()).read_text()
    assert [each["decision"] for each in project("plan", "clash", "--json", *words).json["tasks"]] == ["reuse"]
    detached = project("run", "clash", "--detach", "--force", "show", *words)
    assert detached.code == 0
    assert project("show", detached.out.strip(), "--json").json["run"] == detached.out.strip()


def test_the_names_of_options_are_those_that_the_commands_have() -> None:
    found = {name[2:] for each in (run, plan) for option in each.params for name in option.opts if name[:2] == "--"}
    assert found | {"help"} == OURS
