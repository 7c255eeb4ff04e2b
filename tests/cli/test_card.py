"""`headrace card`: a model card from the record alone, as Markdown, as a page, as JSON."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Result, Shell

PIPELINES = '''
from typing import NamedTuple

import headrace as hr
import numpy as np
import pyarrow as pa
from headrace.spec.report import Drawing, Fact, Grid, Report, Verdict


class Model:
    """A model of nobody's library."""

    def __init__(self, weight: float) -> None:
        self.weight = weight


class Judged(NamedTuple):
    passed: bool
    report: Report


class Checked(NamedTuple):
    table: pa.Table
    report: Report


@hr.stage(kind="ingest")
def raw(path: str) -> pa.Table:
    return pa.table({"x": list(range(100)), "y": [i % 2 for i in range(100)]})


@hr.stage(kind="ingest")
def check(table: pa.Table) -> Checked:
    held = Verdict(rule="x is unique", holds=True, why="100 values, 100 of them different")
    return Checked(table, Report(title="Contract", passed=True, verdicts=(held,)))


@hr.stage(kind="train")
def fit(table: pa.Table, *, depth: int, seed: int = 7) -> Model:
    return Model(depth / table.num_rows)


@hr.stage(kind="evaluate")
def judge(model: Model, table: pa.Table, floor: float) -> Judged:
    auc = np.float64(0.7 + model.weight)
    rule = Verdict(rule=f"AUC >= {floor}", holds=auc >= floor, why=f"AUC is {auc:.3f}")
    return Judged(
        bool(rule.holds),
        Report(
            title="How good it is",
            about="On rows that the training hasn't seen.",
            passed=rule.holds,
            facts=(
                Fact(name="AUC", value=auc, low=auc - 0.03, high=auc + 0.03, better="higher"),
                Fact(name="AUC of a constant", value=0.5, better="higher"),
                Fact(name="recall of <b>", value=None, why="there is no such row"),
            ),
            verdicts=(rule,),
            grids=(Grid(title="Slices", columns=("slice", "rows"), rows=(("odd", 50), ("even", 50))),),
            drawings=(Drawing(title="ROC", svg="<svg xmlns='http://www.w3.org/2000/svg'/>", caption="a curve"),),
            limits=("One month only.",),
        ),
    )


@hr.stage(kind="deploy")
def ship(model: Model) -> int:
    return 1


@hr.pipeline
def flow(depth: int = 3, floor: float = 0.7) -> None:
    table = check(raw("data/rows.csv")).table
    model = fit(table, depth=depth)
    ship(model, when=judge(model, table, floor).passed)


@hr.stage(kind="ingest")
def bought() -> Model:
    return Model(1.0)


@hr.pipeline
def plain() -> None:
    raw("data/rows.csv")
    bought()
'''


@pytest.fixture
def judged(project: Shell) -> Shell:
    """A project whose pipeline trains and judges a model."""
    project.write("pipelines.py", PIPELINES)
    return project


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shell = Shell(tmp_path_factory.mktemp("once"))
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    _run(shell, "flow")
    return shell.folder


@pytest.fixture(scope="module")
def ran_twice(ran_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shell = Shell(shutil.copytree(ran_once, tmp_path_factory.mktemp("twice") / "project"))
    _run(shell, "flow", "--floor", "0.9")
    return shell.folder


@pytest.fixture
def once(ran_once: Path, tmp_path: Path) -> Shell:
    """A copy of the project after a run."""
    return Shell(shutil.copytree(ran_once, tmp_path / "project"))


@pytest.fixture
def twice(ran_twice: Path, tmp_path: Path) -> Shell:
    """A copy of the project after two runs. The second takes its model from the first, and its report didn't pass."""
    return Shell(shutil.copytree(ran_twice, tmp_path / "project"))


def _run(project: Shell, *words: str) -> str:
    found: str = project("run", *words, "--json").json["run"]
    return found


def _runs(project: Shell) -> list[str]:
    """The runs, oldest first."""
    return [run["run"] for run in reversed(project("runs", "--json").json["runs"])]


def test_the_card_tells_what_the_record_knows(once: Shell) -> None:
    (run,) = _runs(once)
    done = once("card", run, "--json")
    assert (done.code, done.err) == (0, "")
    card = done.json
    assert (card["task"], card["type"], card["codec"], card["passed"]) == ("fit", "pipelines.Model", "pickle", True)
    assert [each["task"] for each in card["data"]] == ["raw", "check"]
    assert [(each["rows"], each["columns"]) for each in card["data"]] == [(100, 2), (100, 2)]
    assert card["data"][0]["arguments"] == {"path": "data/rows.csv"}
    assert card["training"]["task"]["arguments"] == {"depth": "3", "seed": "7"}
    assert card["training"]["seeds"] == {"seed": "7"}
    assert [each["task"] for each in card["results"]] == ["judge"]
    assert "pipelines.fit" in card["code"]["parts"]
    assert any("pickle" in limit for limit in card["limits"])

    text = once("card", run).out
    for part in (
        "# Model card: fit of flow (✓ passed)",
        "`AUC >= 0.7`",
        "AUC | 0.730 | 0.700 to 0.760",
        "AUC of a constant",
        "there is no such row",
        "## Data, check: Contract",
        "- One month only.",
        "runs code when it is loaded",
        "## Cost",
        f"headrace get {run} fit",
    ):
        assert part in text, part


def test_a_card_of_a_reused_model_names_the_run_that_made_it(twice: Shell) -> None:
    first, second = _runs(twice)
    card = twice("card", second, "--json").json
    assert card["run"] == second
    assert card["training"]["task"]["run"] == first
    assert {each["run"] for each in card["data"]} == {first}
    assert card["passed"] is False
    text = twice("card", second).out
    assert "✗ fails" in text
    assert "Task `ship`, which depends on the model, has the state `skipped`" in text


def test_the_run_that_made_a_registered_model_is_kept_from_gc_and_its_card_says_the_same(twice: Shell) -> None:
    first, second = _runs(twice)
    twice("register", second, "fit", "--model", "churn")
    before = twice("card", "model:churn:1", "--json").json
    _run(twice, "plain")
    assert twice("gc", "--keep-runs", "1").code == 0
    after = twice("card", "model:churn:1", "--json").json
    assert (before["training"]["task"]["run"], before["training"]["attempts"]) == (first, 1)
    assert after == before


def test_what_a_forgotten_run_took_is_not_known_any_more(once: Shell) -> None:
    (first,) = _runs(once)
    _run(once, "flow", "--floor", "0.8")
    assert once("gc", "--keep-runs", "1").code == 0
    _run(once, "flow", "--floor", "0.9")  # it has the results from the second run, which had them from the first
    card = once("card", "latest", "--json").json
    training = card["training"]
    assert (training["task"]["run"], training["task"]["arguments"]) == (first, {"depth": "3", "seed": "7"})
    assert {training[each] for each in ("at", "attempts", "load_s", "save_s", "peak_gib")} == {None}
    assert {card[each] for each in ("seconds", "cpu_s", "usd")} == {None}
    text = once("card", "latest").out
    assert f"The time and cost of `raw`, `check`, `fit` are unknown, since run `{first}` is forgotten" in text
    assert "| took | not known any more |" in text
    assert "| 0 s |" not in text
    assert f"from run `{first}`, and what it printed there is no longer known" in once("logs", "latest", "fit").err
    assert [step["origin"] for step in once("lineage", "latest", "fit", "--json").json["made"]] == [first]


def test_what_a_run_took_before_it_had_new_code_is_known_and_counted(project: Shell) -> None:
    code = """
import time

import headrace as hr

@hr.stage(kind="ingest")
def data() -> int:
    begun = time.monotonic()
    while time.monotonic() - begun < 0.05:
        pass
    return 7

@hr.stage(kind="train")
def fit(number: int) -> dict:
    {}

@hr.pipeline
def flow() -> None:
    fit(data())
"""
    project.write("pipelines.py", code.format('raise ValueError("no")'))
    first = project("run", "flow", "--json").json
    took = first["tasks"][0]["seconds"]
    assert took >= 0.05
    project.write("pipelines.py", code.format('return {"weight": number}'))
    done = project("resume", "latest", "--new-code", "--json").json
    assert [task["state"] for task in done["tasks"]] == ["reused", "succeeded"]
    assert done["tasks"][0]["seconds"] == took
    assert done["tasks"][1]["seconds"] > first["tasks"][1]["seconds"]  # an attempt of the old code, and one of the new
    later = project("run", "flow", "--json").json["run"]
    for run in (done["run"], later):
        card = project("card", run, "--json").json
        assert card["seconds"] == sum(task["seconds"] for task in done["tasks"])
        assert {each["run"] for each in card["data"]} == {done["run"]}
        assert "isn't known" not in project("card", run).out
    compared = project("compare", done["run"], later, "--json").json
    assert compared["tasks"][0]["seconds"] == [took, 0.0]
    assert "no differences" in project("replay", done["run"]).out


def test_a_version_that_no_task_of_its_run_made_has_no_card_and_says_why(project: Shell) -> None:
    code = """
        import headrace as hr
        from headrace.stages import registry

        @hr.stage(kind="train")
        def fit() -> dict:
            return {"weight": 1}

        @hr.pipeline
        def flow() -> None:
            registry.model("m", fit())

        @hr.pipeline
        def rename() -> None:
            registry.model("copy", registry.find("model", "m"))
    """
    project.write("pipelines.py", code)
    run = _run(project, "flow")
    project.write("pipelines.py", code.replace("1}", "2}"))
    assert project("resume", run, "--new-code").code == 0
    refused = project("card", "model:m:1")
    assert (refused.code, refused.out) == (2, "")
    told = "`{}` is registered from run `{}`, and no task of that run made it{}: it has no card"
    assert told.format("model:m:1", run, " under its present code") in refused.err
    trail = project("lineage", "model:m:1", "--json").json
    assert [(step["task"], step["earlier"]) for step in trail["made"]] == [("fit", True)]
    assert project("card", "model:m:2").code == 0
    given = _run(project, "rename")
    assert told.format("model:copy:1", given, "") in project("card", "model:copy").err


MODEL_OF_BYTES = """
from pathlib import Path

import headrace as hr

@hr.stage(kind="train")
def fit() -> hr.File:
    Path("model.txt").write_text("weights " * 1000)
    return hr.File("model.txt")

@hr.pipeline
def train() -> None:
    fit()
"""


def test_a_version_that_was_registered_from_another_one_or_by_its_digest_has_the_card_of_the_run_that_made_it(
    project: Shell,
) -> None:
    project.write("pipelines.py", MODEL_OF_BYTES)
    run = project("run", "train", "--json").json["run"]
    assert project("register", run, "--model", "first").code == 0
    digest = project("card", run, "--json").json["digest"]
    for origin, name in (("model:first", "second"), ("model:second", "third"), (digest, "fourth")):
        registered = project("register", origin, "--model", name)
        assert registered.code == 0, registered.err
        card = project("card", f"model:{name}", "--json")
        assert (card.code, card.json.get("run")) == (0, run), card.out


def test_there_is_no_card_of_a_table(once: Shell) -> None:
    (run,) = _runs(once)
    wrong = once("card", "latest", "check.table")
    assert (wrong.code, wrong.out) == (2, "")
    assert f"`check.table` of run `{run}` is a table, so it has no model card" in wrong.err
    assert once("card", "latest", "raw").code == 2


MAPPED = """
import headrace as hr


@hr.stage(kind="ingest")
def part(number: int) -> int:
    return sum(range(3_000_000)) + number


@hr.stage(kind="train")
def fit(parts: list[int], seed: int = 1) -> dict[str, int]:
    return {"weight": sum(parts)}


@hr.pipeline
def flow(seed: int = 1) -> None:
    fit(part.map(number=[1, 2]), seed=seed)
"""


def test_what_a_map_took_is_what_its_elements_took_where_they_ran(project: Shell) -> None:
    project.write("pipelines.py", MAPPED)
    first = _run(project, "flow")
    before = project("card", first, "--json").json["data"][0]
    after = project("card", _run(project, "flow", "--seed", "2"), "--json").json["data"][0]
    assert min(before["seconds"], before["cpu_s"]) > 0
    assert [after[each] for each in ("run", "seconds", "cpu_s")] == [first, before["seconds"], before["cpu_s"]]


def test_what_changed_in_the_code_since_the_run_before_is_named(once: Shell) -> None:
    (first,) = _runs(once)
    once.write("pipelines.py", PIPELINES.replace("depth / table.num_rows", "depth / table.num_rows / 2"))
    code = once("card", _run(once, "flow"), "--json").json["code"]
    assert (code["against"], code["changed"]) == (first, ["pipelines.fit"])


def test_the_page_stands_alone_and_markdown_goes_by_the_suffix(once: Shell) -> None:
    for name in ("card.html", "card.md"):
        done = once("card", "latest", "--to", name)
        assert (done.code, done.out) == (0, f"{name}\n")
    page = (once.folder / "card.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "recall of &lt;b&gt;" in page
    assert "<script" not in page
    assert page.count("<h1") == 1
    assert (once.folder / "card.md").read_text().startswith("# Model card: fit of flow")


def test_what_no_training_gave_has_a_card_only_by_its_name(judged: Shell) -> None:
    _run(judged, "plain")
    for words, *parts in (
        (["latest"], "none of its tasks is of kind `train`", "name the task"),
        (["latest", "nope"], "task `nope`", "`raw`"),
        (["latest", "raw.x"], "has no part `x`", "hint:"),
        (["nope"], "there is no run `nope`", "hint:"),
        (["latest", "raw"], "is a table", "name a task that made a model"),
        (["latest", "bought", "--to", "no/such.md"], "can't write", "hint:"),
    ):
        wrong = judged("card", *words)
        assert (wrong.code, wrong.out) == (2, ""), words
        for part in parts:
            assert part in wrong.err, words
    named: Result = judged("card", "latest", "bought")
    assert named.code == 0
    assert "No report judges this model" in named.out
    assert not list(Path(judged.folder).glob("*.html"))


def test_a_run_whose_training_failed_has_no_card_and_says_why(judged: Shell) -> None:
    judged.write("pipelines.py", PIPELINES.replace("depth / table.num_rows", "depth / 0"))
    run = _run(judged, "flow")
    wrong = judged("card", run)
    assert (wrong.code, wrong.out) == (2, "")
    assert f"no task of run `{run}` made a model; its tasks of kind `train`: `fit` (failed)" in wrong.err


def test_a_run_whose_training_gave_a_number_has_no_card_and_says_why(judged: Shell) -> None:
    judged.write("pipelines.py", PIPELINES.replace("return Model(depth / table.num_rows)", "return depth"))
    run = _run(judged, "flow", "--only", "fit")
    wrong = judged("card", run)
    assert (wrong.code, wrong.out) == (2, "")
    assert f"no task of run `{run}` made a model; its tasks of kind `train`: `fit` (gave a number)" in wrong.err
    assert "return the model from a task of kind `train`" in wrong.err


LIBRARY = """
import headrace as hr
import pyarrow as pa
from headrace.stages import prepare, train


@hr.stage
def raw() -> pa.Table:
    return pa.table({"name": [" a", "b "] * 40, "x": list(range(80)), "y": [i % 2 for i in range(80)]})


@hr.pipeline
def boosted() -> None:
    table = prepare.clean(raw(), [prepare.Trim(columns="*")]).table
    train.lightgbm({"objective": "binary"}, table, target="y", features=["x"], num_boost_round=2)
"""


def test_the_card_names_the_library_s_own_seed_and_the_rules_of_cleaning(project: Shell) -> None:
    project.write("pipelines.py", LIBRARY)
    card = project("card", _run(project, "boosted"), "--json").json
    assert card["training"]["seeds"]["seed"] == "0"
    rules = next(each["arguments"]["rules"] for each in card["data"] if each["task"] == "clean")
    assert '"do":"trim"' in rules
