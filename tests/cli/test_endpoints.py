"""Where the requests of an endpoint go: `promote`, `route`, `rollback`, `retire`, and `endpoints`, which lists it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import pyarrow as pa

import headrace as hr
from headrace.spec.report import Report, Verdict
from headrace.stages import registry


class Fitted(NamedTuple):
    model: dict
    report: Report


@hr.stage(kind="train")
def fit(depth: int) -> Fitted:
    rule = Verdict(rule="depth < 9", holds=depth < 9, why=f"it is {depth}")
    return Fitted({"depth": depth}, Report(title="Depth", passed=rule.holds, verdicts=(rule,)))


@hr.pipeline
def flow(depth: int = 3, name: str = "delays", signed: bool = True, column: str = "x",
         kind: str = "float64") -> None:
    fitted = fit(depth)
    rows = pa.schema([(column, kind)]).empty_table()
    registry.model(name, fitted.model, report=fitted.report, signature=rows if signed else None)
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with four versions of a model; the report of the last has not passed."""
    shell = Shell(tmp_path_factory.mktemp("versions"))
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    for depth in (1, 2, 3, 9):
        assert shell("run", "flow", "--depth", str(depth)).code == 0
    return shell.folder


@pytest.fixture
def shell(versions: Path, tmp_path: Path) -> Shell:
    """A copy of that project: its four runs take 3 s."""
    return Shell(shutil.copytree(versions, tmp_path / "project"))


@pytest.fixture(scope="module")
def columns(versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that project with two more versions. The fifth takes the column `z` instead of `x`, and the sixth
    takes `z` as a text."""
    shell = Shell(shutil.copytree(versions, tmp_path_factory.mktemp("columns") / "project"))
    for words in (("--depth", "5"), ("--depth", "6", "--kind", "string")):
        assert shell("run", "flow", "--column", "z", *words).code == 0
    return shell.folder


@pytest.fixture
def other_columns(columns: Path, tmp_path: Path) -> Shell:
    return Shell(shutil.copytree(columns, tmp_path / "project"))


def route(shell: Shell) -> dict[str, Any]:
    """Return the present route of the only endpoint: the version and share of each variant, and its shadow."""
    (found,) = shell("endpoints", "--json").json["endpoints"]
    return {**{each["name"]: (each["version"], each["share"]) for each in found["variants"]}, "shadow": found["shadow"]}


def aliases(shell: Shell) -> dict[str, int]:
    return {alias: each["version"] for each in shell("models", "--json").json["models"] for alias in each["aliases"]}


def test_promote_makes_an_endpoint_and_moves_the_alias_production_with_it(shell: Shell) -> None:
    assert "there is no endpoint yet" in shell("endpoints").err
    assert shell("promote", "delays:1").out == "delays: production 1 (100%)\n"
    assert (route(shell), aliases(shell)) == ({"production": (1, 1.0), "shadow": None}, {"production": 1})
    assert shell("promote", "delays:2", "--why", "it knows the new planes").code == 0
    assert (route(shell)["production"], aliases(shell)) == ((2, 1.0), {"production": 2})
    (move, _) = shell("models", "delays", "--json").json["moves"]
    assert (move["was"], move["version"], move["why"]) == (1, 2, "it knows the new planes")


def test_the_alias_production_moves_the_route_and_stays_as_long_as_the_endpoint(shell: Shell) -> None:
    assert shell("alias", "model:delays:1", "production").code == 0
    assert shell("endpoints", "--json").json["endpoints"] == []  # an alias alone is no endpoint
    shell("promote", "delays:1")
    assert shell("alias", "model:delays:2", "production", "--why", "better").code == 0
    assert route(shell)["production"] == (2, 1.0)
    refused = shell("alias", "model:delays:2", "production", "--remove")
    assert refused.code == 4
    assert "the alias `production` of `delays` can't be removed: endpoint `delays` sends requests" in refused.err
    assert shell("retire", "delays").out == "delays: retired\n"
    assert shell("alias", "model:delays:2", "production", "--remove").code == 0


def test_variants_share_the_requests_with_production_until_they_end_or_are_promoted(shell: Shell) -> None:
    shell("promote", "delays:1")
    assert shell("route", "delays:2", "--share", "0.1").out == "delays: production 1 (90%), canary 2 (10%)\n"
    shell("route", "delays:3", "--share", "0.25", "--as", "trial")
    shell("route", "delays:2", "--share", "0.25")
    found = {"production": (1, 0.5), "canary": (2, 0.25), "trial": (3, 0.25), "shadow": None}
    assert route(shell) == found
    refused = shell("route", "delays:3", "--share", "0.8", "--as", "trial")
    assert (refused.code, route(shell)) == (2, found)
    assert "the variants besides `production` would get 1.05 of the requests" in refused.err
    assert shell("retire", "delays", "trial").out == "delays: production 1 (75%), canary 2 (25%)\n"
    assert shell("promote", "delays:2").out == "delays: production 2 (100%)\n"


def test_the_record_of_the_alias_production_has_only_its_own_moves(shell: Shell) -> None:
    shell("promote", "delays:1", "--why", "the first")
    shell("promote", "delays:4", "--force", "--why", "a trial")
    shell("route", "delays:2", "--share", "0.1", "--why", "to see")
    shell("retire", "delays", "canary", "--why", "seen")
    moves = shell("models", "delays", "--json").json["moves"]
    assert [(each["was"], each["version"], each["why"]) for each in moves] == [
        (1, 4, "a trial"),
        (None, 1, "the first"),
    ]
    (forced,) = [each["forced"] for each in shell("models", "delays", "--json").json["models"] if each["version"] == 4]
    assert forced == {"production": "a trial"}


def test_a_shadow_gets_a_copy_of_each_request_and_needs_no_report(shell: Shell) -> None:
    shell("promote", "delays:1")
    assert shell("route", "delays:4", "--shadow").out == "delays: production 1 (100%), shadow 4\n"
    assert shell("route", "delays:2", "--share", "0.5").code == 0
    assert route(shell)["shadow"] == 4
    shell("retire", "delays", "canary")
    assert route(shell)["shadow"] == 4
    assert shell("retire", "delays", "shadow").out == "delays: production 1 (100%)\n"


def test_a_version_whose_report_has_not_passed_gets_no_requests_without_a_reason(shell: Shell) -> None:
    shell("promote", "delays:1")
    for words in (("promote", "delays:4"), ("route", "delays:4", "--share", "0.1")):
        refused = shell(*words)
        assert refused.code == 4
        assert "its report didn't pass: depth < 9" in refused.err
        assert route(shell) == {"production": (1, 1.0), "shadow": None}
    assert shell("promote", "delays:4", "--force", "--why", "a trial for an hour").code == 0
    assert route(shell)["production"] == (4, 1.0)


def test_rollback_sends_all_requests_to_the_version_before(shell: Shell) -> None:
    shell("promote", "delays:1")
    refused = shell("rollback", "delays")
    assert refused.code == 4
    assert "`production` of endpoint `delays` has always been version 1" in refused.err
    shell("promote", "delays:2")
    shell("route", "delays:3", "--share", "0.5")
    shell("route", "delays:3", "--shadow")
    assert shell("rollback", "delays", "--why", "errors at night").out == "delays: production 1 (100%)\n"
    assert aliases(shell) == {"production": 1}
    assert shell("rollback", "delays").out == "delays: production 2 (100%)\n"
    listed = shell("endpoints", "delays").out
    assert "production 2 (50%), canary 3 (50%), shadow 3" in listed
    assert "errors at night" in listed
    assert len(shell("endpoints", "delays", "--json").json["moves"]) == 6


def test_a_version_that_takes_other_columns_than_production_gets_no_share_without_a_reason(
    other_columns: Shell,
) -> None:
    shell = other_columns
    shell("promote", "delays:1")
    for words in (("--share", "0.1"), ("--shadow",)):
        refused = shell("route", "delays:5", *words)
        told = "model `delays:5` takes other columns than version 1, which is `production`: `z`, `x`, so records"
        assert (refused.code, told in refused.err) == (4, True), refused.err
    assert shell("route", "delays:5", "--share", "0.1", "--force", "--why", "clients send both").code == 0
    assert route(shell)["canary"] == (5, 0.1)
    assert shell("route", "delays:2", "--share", "0.1").code == 0
    assert shell("promote", "delays:5").code == 0


def test_a_promotion_and_a_rollback_to_a_version_with_other_columns_warn_whose_requests_are_refused(
    other_columns: Shell,
) -> None:
    shell = other_columns
    first = shell("promote", "delays:1", "--key", "who", "--json")
    assert (first.json["warnings"], first.err) == ([], "")
    unless = 'unless the server\'s settings have `missing = "take"` and `unknown = "take"`'
    moves = ((("promote", "delays:5"), 5, "z", 1, "x"), (("rollback", "delays"), 1, "x", 5, "z"))
    for words, new, needed, old, unknown in moves:
        moved = shell(*words, "--json")
        told = (
            f"version {new} takes other columns than version {old}, which was `production`: it needs `{needed}` and"
            f" doesn't take `{unknown}`. Requests with the columns of version {old} get the status 422, {unless}"
        )
        assert (moved.code, moved.json["warnings"], moved.err) == (0, [told], f"warning: {told}\n")
    assert shell("promote", "delays:2").err == ""
    shell("promote", "delays:5")
    retyped = shell("promote", "delays:6")
    assert retyped.err.endswith(
        "it takes `z` in another type. Requests with the columns of version 5 get the status 422\n"
    )


def test_the_alias_production_of_an_endpoint_warns_as_promote_does(other_columns: Shell) -> None:
    shell = other_columns
    assert shell("alias", "model:delays:1", "production", "--json").json["warnings"] == []
    assert shell("alias", "model:delays:5", "production").err == ""  # there is no endpoint yet
    shell("promote", "delays:1")
    assert shell("alias", "model:delays:5", "other").err == ""
    moved = shell("alias", "model:delays:5", "production", "--json")
    (told,) = moved.json["warnings"]
    assert told.startswith("version 5 takes other columns than version 1, which was `production`: it needs `z` and")
    assert (moved.code, moved.err) == (0, f"warning: {told}\n")
    assert shell("alias", "model:delays:5", "production").err == ""
    back = shell("register", "model:delays:1", "--model", "delays", "--alias", "production")
    assert (back.code, back.out) == (0, "model:delays:1\n")
    assert back.err.startswith("warning: version 1 takes other columns than version 5, which was `production`")
    assert route(shell)["production"] == (1, 1.0)


def test_a_retired_endpoint_is_listed_no_more_and_begins_again(shell: Shell) -> None:
    shell("promote", "delays:1")
    shell("route", "delays:2", "--share", "0.5")
    shell("retire", "delays", "--why", "nobody asks it")
    assert shell("endpoints", "--json").json["endpoints"] == []
    assert "retired" in shell("endpoints", "delays").out
    assert "there is no endpoint `delays`" in shell("retire", "delays").err
    assert shell("promote", "delays:2").out == "delays: production 2 (100%)\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("route", "delays:2"), 2, "the share of the version is missing"),
        (("route", "delays:2", "--share", "0.1", "--shadow"), 2, "exclude each other"),
        (("route", "delays:2", "--shadow", "--as", "x"), 2, "the variant of a shadow is always called `shadow`"),
        (("route", "delays:2", "--share", "1.5"), 2, "1.5 of the requests"),
        (("route", "delays:2", "--share", "-0.5"), 2, "a share is from 0 to 1"),
        (("route", "delays:2", "--share", "nan"), 2, "a share is from 0 to 1"),
        (("route", "delays:2", "--share", "0.1", "--as", "production"), 2, "`production` gets what no other"),
        (("route", "delays:2", "--share", "0.1", "--as", "shadow"), 2, "a variant can't be called `shadow`"),
        (("route", "delays:2", "--share", "0.1", "--as", "a b"), 2, "a variant can't be called `a b`"),
        (("route", "delays:7", "--share", "0.1"), 2, "has no version 7"),
        (("promote", "delay:1"), 2, "there is no model `delay`"),
        (("retire", "delays", "canary"), 2, "variant `canary` doesn't exist"),
        (
            ("retire", "delays", "canary"),
            2,
            "its only variant is `production`; `headrace retire delays` ends the endpoint itself",
        ),
        (("retire", "delays", "production"), 2, "variant `production` can't be ended alone"),
        (("retire", "delay"), 2, "there is no endpoint `delay`"),
        (("rollback", "delay"), 2, "there is no endpoint `delay`"),
        (("endpoints", "delay"), 2, "there is no endpoint `delay`"),
        (("promote", "delays:2", "--force"), 2, "`--force` needs a reason"),
    ],
)
def test_a_wrong_word_is_told_and_changes_nothing(shell: Shell, words: tuple[str, ...], code: int, told: str) -> None:
    shell("promote", "delays:1")
    done = shell(*words)
    assert (done.code, told in done.err, "hint: " in done.err) == (code, True, True), done
    assert route(shell) == {"production": (1, 1.0), "shadow": None}
    assert len(shell("endpoints", "delays", "--json").json["moves"]) == 1


def test_a_model_whose_name_has_a_slash_can_have_no_endpoint(shell: Shell) -> None:
    shell("run", "flow", "--name", "team/delays")
    done = shell("promote", "team/delays", "--force", "--why", "to see")
    assert (done.code, "an endpoint can't be called `team/delays`" in done.err) == (2, True), done
    assert shell("endpoints", "--json").json["endpoints"] == []
    assert aliases(shell) == {}


def test_a_version_that_can_not_answer_is_refused(shell: Shell) -> None:
    shell("run", "flow", "--depth", "5", "--signed", "false")
    shell("promote", "delays:1")
    for words in (("promote", "delays:5"), ("route", "delays:5", "--shadow")):
        done = shell(*words)
        assert done.code == 4
        assert "model `delays:5` can't answer requests: it has no signature" in done.err
    assert route(shell) == {"production": (1, 1.0), "shadow": None}
    done = shell("alias", "model:delays:5", "production")
    assert done.code == 4
    assert "would go to version 5, and it has no signature" in done.err
    done = shell("register", "model:delays:5", "--model", "delays", "--alias", "production")
    assert done.code == 4
    assert "would go to `model:delays:5`, and it has no signature" in done.err
    assert aliases(shell) == {"production": 1}
    shell("retire", "delays")
    assert shell("alias", "model:delays:5", "production").code == 0
