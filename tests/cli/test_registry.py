"""Models and datasets by name: `register`, `alias`, `models`, `datasets`, and addresses in `get`, `lineage`, `card`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace.inspect.get.get import find
from headrace.ledger.views.views import Views
from tests.cli.conftest import Shell

PIPELINES = """
from typing import NamedTuple

import headrace as hr
from headrace.spec.report import Report, Verdict


class Fitted(NamedTuple):
    model: dict
    report: Report


@hr.stage(kind="prepare")
def table(rows: int) -> list[int]:
    return list(range(rows))


@hr.stage(kind="train")
def fit(data: list[int], *, depth: int) -> Fitted:
    rule = Verdict(rule="depth >= 3", holds=depth >= 3, why=f"it is {depth}")
    return Fitted({"depth": depth}, Report(title="Depth", passed=rule.holds, verdicts=(rule,)))


@hr.pipeline
def flow(depth: int = 3) -> None:
    fit(table(2000), depth=depth)
"""


def _after(folder: Path, code: str, *runs: str) -> Path:
    """Make a project whose pipelines have run, and return its folder."""
    shell = Shell(folder)
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", code)
    for words in runs:
        assert shell("run", *words.split()).code == 0
    return folder


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _after(tmp_path_factory.mktemp("two"), PIPELINES, "flow --depth 3", "flow --depth 2")


@pytest.fixture
def registry(two_runs: Path, tmp_path: Path) -> Shell:
    """A copy of a project with two runs, of depth 3 and 2, the newest first."""
    return Shell(shutil.copytree(two_runs, tmp_path / "project"))


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _after(tmp_path_factory.mktemp("kinds"), KINDS, "flow")


@pytest.fixture
def kinds(all_kinds: Path, tmp_path: Path) -> Shell:
    """A copy of a project with a run that gave artifacts of many kinds."""
    return Shell(shutil.copytree(all_kinds, tmp_path / "project"))


def _runs(project: Shell) -> list[str]:
    return [run["run"] for run in project("runs", "--json").json["runs"]]


def test_versions_are_numbered_and_what_is_registered_keeps_its_number(registry: Shell) -> None:
    newest, first = _runs(registry)
    made = registry("register", first, "--model", "delays", "--alias", "best", "--note", "the first")
    assert (made.code, made.out, made.err) == (0, "model:delays:1\n", "")
    refused = registry("register", newest, "fit.model", "--model", "delays")
    assert (refused.code, refused.out) == (0, "model:delays:2\n")
    assert "the version's report says not passed: depth >= 3" in refused.err
    assert registry("register", first, "fit.model", "--model", "delays").out == "model:delays:1\n"
    assert registry("register", "latest", "table", "--dataset", "rows").out == "dataset:rows:1\n"

    versions = registry("models", "delays", "--json").json["models"]
    assert [(each["version"], each["aliases"], each["passed"]) for each in versions] == [
        (2, [], False),
        (1, ["best"], True),
    ]
    assert (versions[1]["note"], versions[1]["origin"]) == ("the first", f"{first} fit.model")
    assert registry("datasets", "--json").json["datasets"][0]["passed"] is None
    listed = registry("models")
    assert listed.code == 0
    assert "best=1" in listed.out
    assert "the first" in registry("models", "delays").out


def test_an_alias_moves_and_can_be_taken_away(registry: Shell) -> None:
    for run in _runs(registry):
        registry("register", run, "--model", "delays")
    forced = registry("alias", "model:delays:1", "production", "--force", "--why", "a trial")
    assert forced.out == "model:delays:1\n"
    assert registry("models", "delays", "--json").json["models"][1]["forced"] == {"production": "a trial"}
    assert registry("alias", "model:delays", "production").out == "model:delays:2\n"
    assert [each["forced"] for each in registry("models", "--json").json["models"]] == [{}, {}]
    assert [each["aliases"] for each in registry("models", "--json").json["models"]] == [["production"], []]
    assert registry("alias", "model:delays@production", "production", "--remove").code == 0
    assert [each["aliases"] for each in registry("models", "--json").json["models"]] == [[], []]


def test_each_move_of_an_alias_tells_who_from_to_when_and_why(registry: Shell) -> None:
    for run in _runs(registry):
        registry("register", run, "--model", "delays", "--alias", "newest", "--force", "--why", "it is the newest")
    assert registry("alias", "model:delays:2", "newest").code == 0, "it points there already"
    assert registry("alias", "model:delays:1", "best", "--why", "fewer errors at night").code == 4
    assert registry("alias", "model:delays:2", "best", "--why", "fewer errors at night").code == 0
    assert registry("alias", "model:delays@best", "best", "--remove", "--why", "a mistake").code == 0
    shown = registry("models", "delays", "--json").json
    assert [(each["alias"], each["was"], each["version"], each["why"]) for each in shown["moves"]] == [
        ("best", 2, None, "a mistake"),
        ("best", None, 2, "fewer errors at night"),
        ("newest", 1, 2, "it is the newest"),
        ("newest", None, 1, "it is the newest"),
    ]
    assert {each["by"] for each in shown["moves"]} == {shown["models"][0]["by"]}
    assert [each["forced"] for each in shown["models"]] == [{}, {}], "where the report advises against nothing"
    told = registry("models", "delays").out.splitlines()
    assert [line.split()[:3] for line in told[-4:]] == [
        ["best", "2", "none"],
        ["best", "none", "2"],
        ["newest", "1", "2"],
        ["newest", "none", "1"],
    ]
    assert told[-4].endswith("a mistake")
    assert registry("models", "--json").json["moves"] == shown["moves"]
    assert registry("datasets", "--json").json["moves"] == []
    refused = registry("register", "latest", "--model", "delays", "--why", "no alias")
    assert (refused.code, "no alias is given" in refused.err) == (2, True)


def test_an_alias_is_not_pointed_at_what_a_report_says_no_to_unless_somebody_says_why(registry: Shell) -> None:
    refused = registry("register", "latest", "--model", "delays", "--alias", "production")
    assert (refused.code, refused.out) == (4, "")
    assert "`production` wasn't pointed at `" in refused.err
    assert "`, so nothing was registered: its report didn't pass" in refused.err
    assert "hint: register it without `--alias`; or give the reason to point the alias at it" in refused.err
    assert "its report didn't pass: depth >= 3" in refused.err
    assert '`--force --why "..."`' in refused.err
    assert registry("models", "delays").code == 2
    assert registry("register", "latest", "--model", "delays").out == "model:delays:1\n"
    pointed = registry("alias", "model:delays", "production")
    assert (pointed.code, "registered" in pointed.err, "--alias" in pointed.err) == (4, False, False)
    renamed = registry("register", "model:delays:1", "--model", "other", "--alias", "production")
    assert renamed.code == 4
    for half in (["--force"], ["--why", " "], ["--force", "--why", " "]):
        assert registry("alias", "model:delays", "production", *half).code == 2
    assert registry("alias", "model:delays", "production", "--why", "a reason forces nothing").code == 4
    assert registry("models", "delays", "--json").json["moves"] == []
    why = "the old one is worse"
    done = registry("register", "latest", "--model", "delays", "--alias", "production", "--force", "--why", why)
    assert (done.code, done.out) == (0, "model:delays:1\n")
    assert registry("models", "delays", "--json").json["models"][0]["forced"] == {"production": why}
    assert f"production (forced: {why})" in registry("models", "delays").out
    assert f"`production` points to it although its report did not pass: {why}" in registry("card", "model:delays").out


def test_a_model_that_any_report_after_it_says_no_to_is_refused(project: Shell) -> None:
    more = """
    @hr.stage(kind="evaluate")
    def judge(model: dict, passed: bool) -> Report:
        return Report(title="Judged", passed=passed, verdicts=(Verdict(rule="fair", holds=passed, why="it is"),))


    @hr.pipeline
    def judged() -> None:
        model = fit(table(10), depth=4).model
        judge(model, True)
        judge(model, False)
        judge(model, True)
    """
    project.write("pipelines.py", PIPELINES + textwrap.dedent(more))
    assert project("run", "judged").code == 0
    assert project("register", "latest", "fit.model", "--model", "known").code == 0
    for words in (
        ("register", "latest", "fit.model", "--model", "m", "--alias", "production"),
        ("register", "model:known", "--model", "m", "--alias", "production"),
        ("alias", "model:known", "production"),
    ):
        refused = project(*words)
        assert (refused.code, "didn't pass: fair" in refused.err) == (4, True), words
    assert project("gc", "--keep-runs", "0").code == 0
    assert project("alias", "model:known", "production").code == 4, "the run that it is from is kept"


def test_a_model_that_a_later_run_judged_anew_is_judged_by_the_run_that_is_named(project: Shell) -> None:
    more = """
    @hr.stage(kind="evaluate")
    def judge(model: dict, least: int) -> Report:
        fair = Verdict(rule=f"depth >= {least}", holds=model["depth"] >= least, why="it is")
        return Report(title="Judged", passed=fair.holds, verdicts=(fair,))


    @hr.stage(kind="train")
    def learn() -> dict:
        return {"depth": 4, "padding": "-" * 10_000}


    @hr.pipeline
    def judged(least: int = 4) -> None:
        judge(learn(), least)
    """
    code = PIPELINES + textwrap.dedent(more)
    project.write("pipelines.py", code)
    strict, lax = (project("run", "judged", "--least", least, "--json").json["run"] for least in ("5", "4"))
    learned = next(task for task in project("show", lax, "--json").json["tasks"] if task["name"] == "learn")
    assert learned["state"] == "reused"
    digest = learned["outputs"][0]["digest"]
    for words in ((strict, "learn"), (digest,)):
        refused = project("register", *words, "--model", "m", "--alias", "production")
        assert (refused.code, "didn't pass: depth >= 5" in refused.err) == (4, True), words
    assert project("register", strict, "learn", "--model", "strict").code == 0
    assert project("alias", "model:strict", "production").code == 4
    project.write(
        "pipelines.py",
        (PIPELINES + textwrap.dedent(more)).replace("def learn() -> dict:\n", "def learn() -> dict:\n    print(1)\n"),
    )
    assert project("run", "judged", "--json").json["run"] != lax
    assert project("register", digest, "--model", "twice").code == 0
    for version in ("model:twice", "model:renamed"):
        assert project("alias", version, "production").code == 4, "two runs made it, and one refused it"
        project("register", "model:twice", "--model", "renamed")
    assert project("register", lax, "learn", "--model", "lax").code == 0
    assert project("alias", "model:lax", "production").code == 0
    assert project("register", lax, "learn", "--model", "other", "--alias", "production").code == 0


def test_an_artifact_is_judged_by_the_reports_of_the_code_that_made_it(project: Shell) -> None:
    more = """
    @hr.stage(kind="train")
    def learn() -> dict:
        return {"weight": 1, "padding": "-" * 10_000}


    @hr.stage(kind="evaluate")
    def judge(model: dict) -> Report:
        fair = Verdict(rule="fair", holds=model["weight"] > 1, why="it is")
        return Report(title="Judged", passed=fair.holds, verdicts=(fair,))


    @hr.pipeline
    def judged() -> None:
        judge(learn())
    """
    code, digests = PIPELINES + textwrap.dedent(more), []
    for weight, words in enumerate((["run", "judged"], *[["resume", "latest", "--new-code"]] * 2), 1):
        project.write("pipelines.py", code.replace('"weight": 1', f'"weight": {weight}'))
        assert project(*words).code == 0
        tasks = project("show", "latest", "--json").json["tasks"]
        digests += [task["outputs"][0]["digest"] for task in tasks if task["name"] == "learn"]
    refused = project("register", digests[0], "--model", "m", "--alias", "production")
    assert (refused.code, "didn't pass: fair" in refused.err) == (4, True)
    for digest in digests[1:]:
        assert project("register", digest, "--model", "m", "--alias", "production").code == 0


def test_an_alias_is_not_pointed_where_the_report_can_not_be_read(project: Shell) -> None:
    project.write("pipelines.py", PIPELINES.replace('title="Depth"', 'title="Depth " * 20_000'))
    assert project("run", "flow", "--depth", "2").code == 0
    assert project("register", "latest", "--model", "delays").code == 0
    shutil.rmtree(project.folder / ".headrace/store/blobs")
    refused = project("alias", "model:delays", "production")
    assert (refused.code, refused.out) == (4, "")
    assert "`production` wasn't pointed at model `delays:1`: its report can't be read" in refused.err
    assert project("register", "latest", "--model", "delays", "--alias", "production").code == 4
    assert project("alias", "model:delays", "production", "--force", "--why", "I know it").code == 0


BYTES = """
import headrace as hr
from headrace.spec.report import Report, Verdict


@hr.stage(kind="train")
def fit() -> bytes:
    return bytes(20_000)


@hr.stage(kind="evaluate")
def judge(model: bytes) -> Report:
    return Report(title="Judged", passed=False, verdicts=(Verdict(rule="fair", holds=False, why="it isn't"),))


@hr.pipeline
def flow() -> None:
    judge(fit())
"""


def test_a_model_that_is_named_by_its_digest_is_refused_for_what_judged_it_too(project: Shell) -> None:
    project.write("pipelines.py", BYTES)
    tasks = project("run", "flow", "--json").json["tasks"]
    digest = tasks[0]["outputs"][0]["digest"]
    refused = project("register", digest, "--model", "m", "--alias", "production")
    assert (refused.code, "didn't pass: fair" in refused.err) == (4, True)
    assert project("register", digest, "--model", "m").code == 0
    assert project("alias", "model:m", "production").code == 4


PREPARED = """
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare, registry

RULES = [prepare.Fill(columns="age", how="mean")]


@hr.stage(kind="ingest")
def people(start: int) -> pa.Table:
    return pa.table({"age": pa.array([start, None, 30], pa.int64())})


@hr.stage(kind="train")
def fit(table: pa.Table) -> dict:
    return {"sum": sum(table["age"].to_pylist())}


@hr.pipeline
def inside() -> None:
    cleaned = prepare.clean(people(10), RULES)
    registry.model("ages", fit(cleaned.table), preparation=cleaned.preparation)


@hr.pipeline
def outside(twice: bool = False) -> None:
    cleaned = prepare.clean(people(20), RULES)
    fit(prepare.clean(cleaned.table, [prepare.Clip(columns="age", max=99)]).table if twice else cleaned.table)


@hr.pipeline
def wrong() -> None:
    registry.model("wrong", fit(prepare.clean(people(1), RULES).table), preparation=people(10))
"""


def test_a_version_names_its_model_and_what_prepares_rows_for_it(project: Shell) -> None:
    project.write("pipelines.py", PREPARED)
    assert project("run", "inside").code == 0
    assert project("run", "outside").code == 0
    assert project("register", "latest", "fit", "--model", "ages").out == "model:ages:2\n"
    newest, first = project("models", "ages", "--json").json["models"]
    assert newest["preparation"] != first["preparation"]
    for version, age in ((1, 20), (2, 25)):
        assert project("get", f"model:ages:{version}", "preparation", "--to", f"{version}.json").code == 0
        told = json.loads((project.folder / f"{version}.json").read_text())
        assert told["steps"][0]["rule"]["value"] == age
    assert f"rows are prepared for it by `{newest['preparation'][:12]}`" in project("card", "model:ages:2").out
    assert project("gc", "--keep-runs", "0").code == 0
    assert project("fsck").code == 0
    assert project("get", "model:ages:1", "preparation", "--to", "again.json").code == 0
    assert project("ledger", "export", "all.hr").code == 0

    assert project("run", "outside", "--twice", "true").code == 0
    two = project("register", "latest", "fit", "--model", "twice", "--json").json
    assert two["preparation"] is None
    named = project("register", "latest", "fit", "--model", "twice", "--preparation", "clean[1]", "--json").json
    assert (named["version"], named["preparation"] is None) == (1, False)
    assert project("register", "latest", "fit", "--model", "none", "--preparation", "people").code == 2
    done = project("run", "wrong", "--json")
    reason = next(task["reason"] for task in done.json["tasks"] if task["name"] == "register_model")
    assert "`preparation` is a `pyarrow.lib.Table`" in reason


def test_get_lineage_and_card_take_addresses(registry: Shell) -> None:
    _, first = _runs(registry)
    registry("register", first, "--model", "delays", "--alias", "best")
    registry("register", "latest", "table", "--dataset", "rows")
    for word in ("model:delays", "model:delays:1", "model:delays@best"):
        assert registry("get", word).out == "delays-1.json\n"
    assert (registry.folder / "delays-1.json").read_text() == '{"depth":3}'
    assert registry("get", "dataset:rows:1", "--to", "rows.json").code == 0
    assert [step["task"] for step in registry("lineage", "model:delays@best", "--json").json["made"]] == ["fit"]
    assert [step["task"] for step in registry("lineage", "dataset:rows", "--json").json["down"]] == ["fit", "fit"]
    card = registry("card", "model:delays@best", "--json").json
    assert (card["title"], card["run"], card["task"], card["passed"]) == ("delays 1", first, "fit.model", True)
    assert [(each["name"], each["aliases"]) for each in card["names"]] == [("delays", ["best"])]
    registry.write("use.py", "import headrace\nprint(headrace.load('model:delays@best'))\n")
    used = subprocess.run(
        [sys.executable, "use.py"], cwd=registry.folder, env=registry.environment(), capture_output=True, check=True
    )
    assert used.stdout == b"{'depth': 3}\n"
    assert registry("register", "model:delays@best", "--model", "renamed").out == "model:renamed:1\n"


def test_a_name_with_a_slash_gives_a_file_in_this_folder(registry: Shell) -> None:
    assert registry("register", "latest", "table", "--dataset", "team/rows").out == "dataset:team/rows:1\n"
    assert registry("get", "dataset:team/rows").out == "team-rows-1.json\n"
    assert (registry.folder / "team-rows-1.json").exists()


def test_a_model_is_the_field_of_that_name_and_its_report_that_of_who_judged_it(project: Shell) -> None:
    more = """
    @hr.stage(kind="evaluate")
    def judge(model: dict) -> Report:
        rule = Verdict(rule="deep", holds=False, why=f"it is {model['depth']}")
        return Report(title="Judged", passed=False, verdicts=(rule,))


    @hr.stage(kind="deploy")
    def note(verdict: Report) -> Report:
        return Report(title="Noted", passed=True)


    @hr.pipeline
    def judged() -> None:
        note(judge(fit(table(10), depth=4).model))
    """
    project.write("pipelines.py", PIPELINES + textwrap.dedent(more))
    assert project("run", "judged").code == 0
    for number, words in enumerate((["fit"], ["fit.model"], []), 1):
        found = project("register", "latest", *words, "--model", f"m{number}", "--json").json
        assert (found["type"], found["verdict"]) == ("dict", "not passed: deep")
        assert found["origin"].endswith(" fit.model")


def test_the_card_of_a_run_is_about_the_model_that_it_registered(registry: Shell) -> None:
    more = """
    from headrace.stages import registry


    @hr.pipeline
    def two() -> None:
        first = fit(table(10), depth=3)
        fit(table(11), depth=4)
        registry.model("first", first.model, report=first.report)
    """
    registry.write("pipelines.py", PIPELINES + textwrap.dedent(more))
    assert registry("run", "two").code == 0
    card = registry("card", "latest", "--json").json
    assert (card["title"], card["task"]) == ("first 1", "fit.model")
    assert registry("card", "latest", "fit[1]", "--json").json["task"] == "fit[1].model"


def test_a_registered_artifact_outlives_the_collector(registry: Shell) -> None:
    second, first = _runs(registry)
    registry("register", first, "table", "--dataset", "rows")
    for depth in ("5", "6"):
        registry("run", "flow", "--depth", depth)
    registry.write("headrace.toml", "[gc]\nkeep_runs = 1\n")
    assert registry("gc").code == 0
    kept = _runs(registry)
    assert first in kept
    assert second not in kept
    assert registry("get", "dataset:rows", "--to", "rows.json").code == 0


def test_wrong_words_about_models_are_one_error(registry: Shell) -> None:
    registry("register", "latest", "--model", "delays", "--alias", "best", "--force", "--why", "a test")
    run = _runs(registry)[0].rpartition("-")[2]
    for words, message, hint in (
        (["register", "latest", "fit"], "is needed", "--model NAME"),
        (["register", "latest", "fit", "--model", "a", "--dataset", "b"], "are both given", "one of"),
        (["register", "latest", "--dataset", "rows"], "has more than one output", "`table`"),
        (["register", "latest", "nope", "--model", "a"], "task `nope`", "tasks with an output are"),
        (["register", "latest", "fti", "--model", "a"], "task `fti`", "did you mean `fit`?"),
        (["register", "latest", "fit.nope", "--model", "a"], "no part `nope`", "model, report"),
        (["register", "nope", "--model", "a"], "artifact `nope`", "headrace show"),
        (["register", "latest", "--model", "a b"], "can't be called `a b`", "letters"),
        (["alias", "delays", "x"], "`delays` is not an address", "model:NAME"),
        (["alias", "model:delays:9", "x"], "no version 9", "newest is 1"),
        (["alias", "model:delays", "x", "--remove"], "has no alias `x`", "`best`"),
        (["get", "model:nope"], "there is no model `nope`", "`delays`"),
        (["get", "model:delays@worst"], "no alias `worst`", "`best`"),
        (["get", "model:delays", "nope"], "no part `nope`", "no parts"),
        (["lineage", "dataset:delays"], "there is no dataset `delays`", ""),
        (["card", "model:delays:2"], "no version 2", "newest is 1"),
        (["models", "nope"], "there is no model `nope`", "`delays`"),
        (["get", run], f"`{run}` is the run `", "a task of it: `table`, `fit`"),
        (["get", "latest"], "`latest` is the run `", "a task of it: `table`, `fit`"),
        (["lineage", run], f"`{run}` is the run `", "a task of it: `table`, `fit`"),
        (
            ["get", run, "fit", "--to", "m.skops"],
            "can't be written as",
            f"`headrace get {run} fit.model`, `headrace get",
        ),
    ):
        wrong = registry(*words)
        assert (wrong.code, wrong.out) == (2, ""), (words, wrong)
        assert message in wrong.err, (words, wrong.err)
        assert hint in wrong.err.partition("hint:")[2], (words, wrong.err)


def test_a_project_without_models_says_so(registry: Shell) -> None:
    for kind in ("model", "dataset"):
        none = registry(f"{kind}s")
        assert (none.code, none.out) == (0, "")
        assert f"there is no {kind} yet" in none.err
        assert registry(f"{kind}s", "--json").json == {f"{kind}s": [], "moves": []}


KINDS = """
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

import headrace as hr
from headrace.spec.report import Report
from headrace.stages import registry


class Halves(NamedTuple):
    left: pa.Table
    report: Report


class Fitted(NamedTuple):
    model: dict
    trials: pa.Table


@hr.stage(kind="train")
def table() -> pa.Table:
    return pa.table({"x": [1]})


@hr.stage(kind="train")
def frame() -> pd.DataFrame:
    return pd.DataFrame({"x": [1]})


@hr.stage(kind="train")
def report() -> Report:
    return Report(title="Good", passed=True)


@hr.stage(kind="train")
def number() -> bool:
    return True


@hr.stage(kind="train")
def halves(table: pa.Table, report: Report) -> Halves:
    return Halves(table, report)


@hr.stage(kind="train")
def fitted(table: pa.Table) -> Fitted:
    return Fitted({"slope": 1}, table)


@hr.stage
def words() -> str:
    return "late, if it rains"


@hr.stage
def mean() -> float:
    return 0.5


@hr.stage
def encoded() -> bytes:
    return b"net"


class Line(NamedTuple):
    slope: float
    start: float


@hr.stage
def line() -> Line:
    return Line(2.0, 1.0)


@hr.pipeline
def flow() -> None:
    rows = table()
    frame(), number(), halves(rows, report()), fitted(rows)
    words(), mean(), encoded(), line()


@hr.pipeline
def models() -> None:
    registry.model("m", table())


@hr.pipeline
def texts() -> None:
    registry.model("m", words())


@hr.pipeline
def datasets() -> None:
    registry.dataset("d", report())
"""


def test_what_is_no_model_is_registered_as_one_only_with_a_reason(kinds: Shell) -> None:
    for task, what in (
        ("table", "a table"),
        ("frame", "a table"),
        ("report", "a report"),
        ("number", "a `bool`"),
        ("words", "a text"),
        ("mean", "a number"),
        ("halves", "a `Halves` of a table and more"),
        ("fitted.trials", "a table"),
    ):
        refused = kinds("register", "latest", task, "--model", "m")
        assert (refused.code, refused.out) == (2, ""), task
        assert f"is {what}, so it can't be registered as a model" in refused.err
        assert '`--force --why "..."`' in refused.err
    assert kinds("models").out == ""
    for number, task in enumerate(("encoded", "line"), start=1):  # a model may be bytes, and its fields numbers
        assert kinds("register", "latest", task, "--model", "own").out == f"model:own:{number}\n"
    assert kinds("register", "latest", "report", "--dataset", "d").code == 2
    assert kinds("register", "latest", "table", "--dataset", "d").out == "dataset:d:1\n"
    assert kinds("register", "dataset:d:1", "--model", "m").code == 2
    forced = kinds("register", "latest", "table", "--model", "m", "--note", "k-NN", "--force", "--why", "its rows")
    assert (forced.code, forced.out) == (0, "model:m:1\n")
    assert kinds("models", "m", "--json").json["models"][0]["note"] == "k-NN; a table as a model: its rows"


MEASURED = """
from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.stages import evaluate, registry


@hr.stage
def rows() -> pa.Table:
    return pa.table({"y": [0, 1] * 50, "s": [0.2, 0.7] * 50})


@hr.stage(kind="train")
def onnx() -> hr.File:
    Path("net.onnx").write_bytes(b"net")
    return hr.File("net.onnx")


@hr.stage(kind="train")
def tuned() -> hr.Folder:
    Path("tuned").mkdir()
    Path("tuned/config.json").write_text("{}")
    return hr.Folder("tuned")


@hr.stage
def paper() -> hr.File:
    Path("told.html").write_text("<p>")
    return hr.File("told.html")


@hr.pipeline
def flow() -> None:
    evaluate.classification(None, rows(), target="y", scores="s")
    onnx(), tuned(), paper()


@hr.pipeline
def whole() -> None:
    registry.model("m", evaluate.classification(None, rows(), target="y", scores="s"))


@hr.pipeline
def page() -> None:
    registry.model("m", evaluate.classification(None, rows(), target="y", scores="s").page)


@hr.pipeline
def metrics() -> None:
    registry.model("m", evaluate.classification(None, rows(), target="y", scores="s").metrics)


@hr.pipeline
def told() -> None:
    registry.model("m", paper())
"""


def test_what_judges_a_model_is_registered_as_none_in_either_way(project: Shell) -> None:
    project.write("pipelines.py", MEASURED)
    run = project("run", "flow", "--json").json["run"]
    for task, what in (
        ("classification", "a `Classification`, a report with what belongs to it"),
        ("classification.metrics", "a result of an evaluation"),
        ("classification.page", "a page"),
        ("paper", "a page"),
    ):
        refused = project("register", "latest", task, "--model", "m")
        assert (refused.code, f"{what}, so it can't be registered as a model" in refused.err) == (2, True), refused.err
    for pipeline in ("whole", "page", "metrics", "told"):
        done = project("run", pipeline)
        assert done.code in (1, 2), pipeline
        assert "registered as" in done.err
    assert project("models").out == ""
    for number, task in enumerate(("onnx", "tuned"), start=1):
        assert project("register", run, task, "--model", "m").out == f"model:m:{number}\n"


def test_of_several_outputs_a_digest_names_the_model_too(kinds: Shell) -> None:
    assert kinds("register", "latest", "fitted", "--model", "m").out == "model:m:1\n"
    with Views(kinds.folder / ".headrace/ledger.db") as views:
        digest = find(views, "latest", "fitted").digest
    assert kinds("register", digest, "--model", "m").out == "model:m:1\n"


@pytest.mark.parametrize(
    ("pipeline", "what"),
    [("models", "`model` is a table"), ("texts", "`model` is a text"), ("datasets", "`dataset` is a report")],
)
def test_a_pipeline_registers_nothing_as_what_it_is_not(kinds: Shell, pipeline: str, what: str) -> None:
    done = kinds("run", pipeline, "--json")
    assert done.code == 1
    reason = next(task["reason"] for task in done.json["tasks"] if task["name"].startswith("register"))
    assert what in reason
    assert kinds("models").out == kinds("datasets").out == ""
