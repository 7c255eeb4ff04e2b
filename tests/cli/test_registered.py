"""What tasks have logged, and models and datasets under names: through gc, export and replay, on a real project."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.errors import NotFoundError, UsageError
from headrace.ledger.ledger import Ledger
from headrace.ledger.registry import point, register, unpoint
from headrace.ledger.views.tracking import TrackingViews
from headrace.spec.artifact import Ref
from headrace.spec.intent import Register
from tests.cli.conftest import Shell

PIPELINES = """
import math
from typing import NamedTuple

import headrace as hr
from headrace.stages import registry


@hr.stage
def fit(depth: int) -> list[int]:
    for step in range(depth):
        hr.log("train/loss", 1 / (1 + step), step)
    hr.log("odd", math.nan)
    hr.log("said", f"depth {depth}")
    return list(range(depth * 1000))


@hr.stage
def judge(model: list[int]) -> float:
    return len(model) / 1000


@hr.pipeline
def delays(depth: int = 1) -> None:
    model = fit(depth)
    registry.model("delays", model, report=judge(model), aliases=["production"], note="of the night")
    registry.dataset("lists", model, report=None)


@hr.stage
def against(model: list[int], before: registry.Version) -> str:
    return f"{len(model)} against {before.name}:{before.version}, {len(before.value or [])}"


@hr.pipeline
def compared(which: str = "delays", depth: int = 1) -> None:
    before = registry.find("model", which)
    model = fit(depth)
    against(model, before)
    registry.model("delays", model, aliases=["production"])


@hr.pipeline
def wrong() -> None:
    registry.model("a b", 1)


@hr.stage
def is_good(score: float) -> bool:
    return score > 10


class Fitted(NamedTuple):
    model: list[int]
    note: str


class Halves(NamedTuple):
    left: int
    right: int


@hr.stage(kind="train")
def fit_with_note() -> Fitted:
    return Fitted([1, 2, 3], "well")


@hr.stage
def halves() -> Halves:
    return Halves(1, 2)


@hr.pipeline
def whole() -> None:
    registry.model("whole", fit_with_note())


@hr.pipeline
def torn() -> None:
    registry.model("torn", halves())


@hr.pipeline
def single() -> None:
    registry.model("single", fit(1), aliases="production")


@hr.pipeline
def strange() -> None:
    registry.find("modle", "delays")


@hr.pipeline
def gated() -> None:
    model = fit(1)
    registry.model("delays", model, when=is_good(judge(model)))
"""


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    return empty


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which three runs have registered two versions. No test changes it."""
    shell = Shell(tmp_path_factory.mktemp("ran"))
    shell.write("headrace.toml", "")
    shell.write("pipelines.py", PIPELINES)
    for depth in (3, 5, 3):
        done = shell("run", "delays", "--depth", str(depth))
        assert done.code == 0, done.err
    return shell.folder


@pytest.fixture
def read(ran: Path) -> Iterator[TrackingViews]:
    """What may be read of that project."""
    with TrackingViews(address(ran)) as found:
        yield found


@pytest.fixture
def views(shell: Shell, ran: Path) -> Iterator[TrackingViews]:
    """What may be read of `shell`, which is made a copy of that project."""
    shutil.copytree(ran, shell.folder, dirs_exist_ok=True)
    with TrackingViews(address(shell.folder)) as found:
        yield found


def address(folder: Path) -> str:
    return f"sqlite:///{folder / '.headrace' / 'ledger.db'}"


def test_an_artifact_keeps_its_version_and_the_alias_follows_the_latest_run(read: TrackingViews) -> None:
    newest, oldest = read.versions("model")
    assert (newest.version, oldest.version) == (2, 1)
    assert (newest.aliases, oldest.aliases) == ((), ("production",))
    assert (oldest.task, oldest.note, oldest.report and oldest.report.inline) == (
        "register_model",
        "of the night",
        b"3.0",
    )
    assert [each.version for each in read.versions("dataset", "lists")] == [2, 1]
    assert read.versions("dataset", "lists")[0].report is None
    assert read.resolve("model", "delays").version == 2
    assert read.resolve("model", "delays:1").version == 1
    assert read.resolve("model", "delays@production").version == 1


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("delay", NotFoundError, "there is no model `delay`"),
        ("delays:7", NotFoundError, "model `delays` has no version 7"),
        ("delays@prod", NotFoundError, "model `delays` has no alias `prod`"),
        ("delays@a@b", UsageError, "`delays@a@b` names no version of a model"),
        ("", UsageError, "`` names no version of a model"),
    ],
)
def test_what_is_not_registered_is_one_clear_error(
    read: TrackingViews, name: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told.replace("`", ".")):
        read.resolve("model", name)


def test_a_pipeline_asks_for_a_version_by_name(shell: Shell) -> None:
    told = []
    for depth, which in ((1, "delays"), (2, "delays@production"), (3, "delays:1"), (3, "delays:1")):
        done = shell("run", "compared", "--depth", str(depth), "--which", which)
        assert done.code == 0, done.err
        [name] = shell("get", "latest", "against").out.split()
        told.append((shell.folder / name).read_text())
        (shell.folder / name).unlink()
    assert told[:3] == ["1000 against delays:0, 0", "2000 against delays:1, 1000", "3000 against delays:1, 1000"]
    assert "2 reused" in done.out
    assert shell("plan", "compared", "--which", "delays:1", "--depth", "3").code == 0
    done = shell("run", "compared", "--which", "a:b:c")
    assert done.code == 2
    assert "`a:b:c` names no version of a model" in done.err


def test_a_name_that_can_not_be_one_is_an_error(shell: Shell) -> None:
    done = shell("run", "wrong")
    assert done.code == 2, "it is told before anything runs"
    assert "a model can't be called `a b`" in done.err
    done = shell("run", "strange")
    assert (done.code, done.err.splitlines()[1]) == (2, 'hint: give "model" or "dataset"')


def test_a_single_alias_may_be_given_without_a_list(shell: Shell) -> None:
    assert shell("run", "single").code == 0
    with TrackingViews(address(shell.folder)) as views:
        [version] = views.versions("model", "single")
    assert version.aliases == ("production",)


def test_what_was_logged_is_there_for_the_run_that_reuses_it_too(read: TrackingViews) -> None:
    reused, deep, shallow = [run.run for run in read.runs().runs]
    for run in (reused, shallow):
        [loss] = [each for each in read.metrics(run) if each.name == "train/loss"]
        assert (loss.last, loss.least, loss.greatest, loss.count) == (1 / 3, 1 / 3, 1.0, 3)
        assert (loss.first_step, loss.last_step, loss.run) == (0, 2, shallow)
        [series] = read.series(run, "fit", "train/loss")
        assert list(series.steps) == [0, 1, 2]
        assert list(series.values) == [1.0, 1 / 2, 1 / 3]
        [odd] = read.series(run, name="odd")
        assert math.isnan(odd.values[0])
        [text] = read.texts(run)
        assert text.out.inline == b"depth 3"
        assert read.figures(run) == []
    ranked = read.ranked("train/loss", descending=False)
    assert ranked[0].run.run == deep
    assert len(ranked) == 3
    assert read.ranked("odd") == []
    assert read.metric_names() == {"odd": 3, "train/loss": 3}
    assert [event.task for _, event in read.logged(deep)] == ["fit"]
    with pytest.raises(NotFoundError, match="no run has logged a number `train/lost`"):
        read.ranked("train/lost")


def test_what_is_registered_outlives_the_collector_with_the_run_that_made_it(
    shell: Shell, views: TrackingViews
) -> None:
    for _ in range(2):
        assert shell("run", "gated").code == 0
    assert shell("gc", "--keep-runs", "1").code == 0
    assert len(views.runs().runs) == 3  # the newest, and two that registered something
    assert shell("fsck", "--deep").code == 0


def test_an_export_takes_it_all_along(
    shell: Shell, views: TrackingViews, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert shell("ledger", "export", "all.tar").code == 0
    other = Shell(tmp_path_factory.mktemp("other"))
    other.write("headrace.toml", "")
    other.write("pipelines.py", PIPELINES)
    for _ in range(2):
        done = other("ledger", "import", str(shell.folder / "all.tar"))
        assert done.code == 0, done.err
    with TrackingViews(address(other.folder)) as found:
        assert found.versions("model") == views.versions("model")
        assert found.metrics("latest", kind=None) == views.metrics("latest", kind=None)
        assert found.series(name="train/loss") == views.series(name="train/loss")
    assert "no differences" in other("replay", "latest").out
    assert other("run", "delays", "--depth", "9").code == 0
    done = shell("run", "delays", "--depth", "7")
    assert other("ledger", "export", "other.tar").code == 0
    done = shell("ledger", "import", str(other.folder / "other.tar"))
    assert done.code == 2
    assert "the ledger has other versions of" in done.err


def test_replay_mends_what_was_logged_and_asked_for(shell: Shell, views: TrackingViews) -> None:
    run = views.runs().runs[1].run
    before = views.metrics(run, kind=None), views.versions("model")
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db, db:
        db.execute("delete from metrics where source is null")
        db.execute("delete from logged")
        db.execute("delete from versions where kind = 'model' and version = 2")
    done = shell("replay", run)
    assert done.code == 1
    assert "delays" in done.out
    assert shell("replay", run, "--repair").code in (0, 1)
    assert "no differences" in shell("replay", run).out
    after = views.metrics(run, kind=None), views.versions("model")
    assert after[0] == before[0]
    assert [(each.version, each.out) for each in after[1]] == [(each.version, each.out) for each in before[1]]


def test_the_command_line_registers_points_and_removes(views: TrackingViews, shell: Shell) -> None:
    out = Ref(digest="d" * 64, size=2, codec="text", type="builtins.str", inline=b"hi")
    with Ledger(address(shell.folder)) as ledger:
        for _ in range(2):
            assert register(ledger, Register("model", "delays", out, note="by hand"), by="ada", origin="hi.txt") == 3
        point(ledger, "model", "delays", "staging", 3, by="ada")
        unpoint(ledger, "model", "delays", "production", by="ada")
        with pytest.raises(NotFoundError, match="has no version 9"):
            point(ledger, "model", "delays", "staging", 9, by="ada")
        with pytest.raises(UsageError, match="an alias can't be called `3`"):
            point(ledger, "model", "delays", "3", 3, by="ada")
        with pytest.raises(UsageError, match="a model can't be called"):
            register(ledger, Register("model", "no:good", out), by="ada")
    found = views.versions("model")[0]
    assert (found.version, found.run, found.by, found.origin, found.aliases) == (3, None, "ada", "hi.txt", ("staging",))


def test_of_several_outputs_the_model_is_registered_and_without_one_nothing_is(shell: Shell) -> None:
    assert shell("run", "whole").code == 0
    assert shell("get", "model:whole", "--to", "model.json").code == 0
    assert (shell.folder / "model.json").read_text().split() == ["[", "1,", "2,", "3", "]"]
    done = shell("run", "torn", "--json")
    assert done.code == 1
    reason = next(task["reason"] for task in done.json["tasks"] if task["name"] == "register_model")
    assert "`model` is a `pipelines.Halves` of several outputs" in reason
    assert "`left`, `right`" in reason
    assert shell("models", "torn").code == 2
