"""A pipeline deploys a model: the version and the route are stored together with the task's success."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Beginnings, Shell

PIPELINES = """
import pyarrow as pa

import headrace as hr
from headrace.spec.report import Report
from headrace.stages import deploy, registry

X = pa.table({"x": [1.0]})


@hr.stage(kind="train")
def fit(depth: int) -> dict:
    return {"depth": depth}


@hr.stage
def is_good(model: dict) -> bool:
    return model["depth"] < 9


@hr.pipeline
def release(depth: int = 1) -> None:
    model = fit(depth)
    deploy.endpoint(model, "delays", when=is_good(model), signature=X)


@hr.pipeline
def trial(depth: int = 1, share: float = 0.1) -> None:
    deploy.endpoint(fit(depth), "delays", canary=share, signature=X)


@hr.pipeline
def look(depth: int = 1) -> None:
    deploy.endpoint(fit(depth), "delays", shadow=True, signature=X)


@hr.pipeline
def wrong_name() -> None:
    deploy.endpoint(fit(1), "team/delays")


@hr.pipeline
def wrong_share() -> None:
    deploy.endpoint(fit(1), "delays", canary=10, signature=X)


@hr.pipeline
def true_share() -> None:
    deploy.endpoint(fit(1), "delays", canary=True, signature=X)


@hr.pipeline
def computed_share() -> None:
    import numpy as np
    deploy.endpoint(fit(2), "delays", canary=np.float64(0.25), signature=X)


@hr.pipeline
def both() -> None:
    deploy.endpoint(fit(1), "delays", canary=0.1, shadow=True, signature=X)


@hr.pipeline
def about(depth: int = 1, key: str = "customer", time: str = "day", canary: float | None = None) -> None:
    deploy.endpoint(fit(depth), "delays", canary=canary, key=key, time=time, signature=X)


@hr.pipeline
def no_key() -> None:
    deploy.endpoint(fit(1), "delays", key="", signature=X)


@hr.pipeline
def twice_the_same() -> None:
    deploy.endpoint(fit(1), "delays", key="x", time="x", signature=X)


@hr.pipeline
def a_number_as_time() -> None:
    deploy.endpoint(fit(1), "delays", time="x", signature=X)


@hr.pipeline
def only_registered() -> None:
    registry.model("delays", fit(1))


class Mine:
    pass


@hr.stage
def pickled() -> Mine:
    return Mine()


@hr.stage
def judged() -> Report:
    return Report(title="Depth", passed=False)


@hr.pipeline
def no_signature() -> None:
    deploy.endpoint(fit(1), "delays")


@hr.pipeline
def in_a_pickle() -> None:
    deploy.endpoint(pickled(), "delays", signature=X)


@hr.pipeline
def not_passed(shadow: bool = False) -> None:
    deploy.endpoint(fit(2), "delays", report=judged(), shadow=shadow, signature=X)


@hr.pipeline
def a_table() -> None:
    deploy.endpoint(pa.table({"x": [1]}), "delays")
"""


@pytest.fixture
def shell(empty: Shell) -> Shell:
    """A project whose pipelines deploy."""
    empty.write("headrace.toml", "")
    empty.write("pipelines.py", PIPELINES)
    return empty


def routes(shell: Shell) -> list[str]:
    """Return the routes that the endpoint has had, the newest first."""
    lines = shell("endpoints", "delays").out.splitlines()
    return [line.split("  ")[0] for line in lines[1:]]


def test_a_deployed_model_is_the_production_version_and_the_run_is_named(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run release")
    run = shell("show", "--json").json["run"]
    (found,) = shell("endpoints", "--json").json["endpoints"]
    assert found["variants"] == [{"name": "production", "version": 1, "share": 1.0}]
    assert (found["run"], found["task"]) == (run, "deploy_endpoint")
    (version,) = shell("models", "delays", "--json").json["models"]
    assert (version["version"], version["aliases"], version["run"]) == (1, ["production"], run)
    assert shell("run", "release").code == 0  # the same model is the same version, and the route stays
    assert shell("run", "release", "--depth", "2").code == 0
    assert routes(shell) == ["production 2 (100%)", "production 1 (100%)"]


def test_replay_misses_a_route_that_was_lost(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run release")
    shell("run", "release")  # nothing changed: the route is what this run asked for, too
    assert "no differences" in shell("replay", "latest").out
    with closing(sqlite3.connect(shell.folder / ".headrace" / "ledger.db")) as db, db:
        db.execute("DELETE FROM routes")
    found = shell("replay", "latest")
    assert found.code == 1
    (version,) = shell("models", "delays", "--json").json["models"]
    told = f"endpoint delays: the row says no such route, the events {version['digest'][:12]} as production"
    assert found.out.splitlines()[0] == told


def test_a_model_that_does_not_pass_is_not_deployed(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run release")
    assert shell("run", "release", "--depth", "9").code == 0
    assert routes(shell) == ["production 1 (100%)"]
    assert len(shell("models", "delays", "--json").json["models"]) == 1


def test_a_canary_and_a_shadow_come_beside_production(shell: Shell) -> None:
    shell("run", "trial")
    assert routes(shell)[0] == "production 1 (100%)"  # there was nothing else that could answer
    shell("run", "trial", "--depth", "2")
    assert routes(shell)[0] == "production 1 (90%), canary 2 (10%)"
    shell("run", "look", "--depth", "3")
    assert routes(shell)[0] == "production 1 (90%), canary 2 (10%), shadow 3"
    shell("run", "release", "--depth", "2")
    assert routes(shell)[0] == "production 2 (100%), shadow 3"


def test_a_share_that_was_computed_is_a_share(shell: Shell, begun: Beginnings) -> None:
    pytest.importorskip("numpy")
    begun(shell.folder, "run release")
    assert shell("run", "computed_share").code == 0
    assert routes(shell)[0] == "production 1 (75%), canary 2 (25%)"


def test_a_canary_whose_share_does_not_fit_beside_other_variants_ends_them(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run release")
    shell("run", "trial", "--depth", "2", "--share", "0.5")
    shell("route", "delays:2", "--share", "0.4", "--as", "other")
    shell("route", "delays:2", "--shadow")
    assert shell("run", "trial", "--depth", "3", "--share", "0.8").code == 0
    assert routes(shell)[0] == "production 1 (20%), canary 3 (80%), shadow 2"


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("wrong_name", "an endpoint can't be called `team/delays`"),
        ("wrong_share", "`canary` is 10, and a share is from 0 to 1"),
        ("true_share", "`canary` is True, and a share is from 0 to 1"),
        ("both", "`canary` and `shadow` exclude each other"),
        ("no_key", "`key` is ''"),
        ("twice_the_same", "`key` and `time` are both `x`"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(shell: Shell, pipeline: str, told: str) -> None:
    done = shell("run", pipeline)
    assert (done.code, told in done.err) == (2, True), done.err
    assert shell("runs", "--json").json["runs"] == []


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("a_table", "`model` is a table"),
        ("no_signature", "the model can't answer requests: it has no signature"),
        ("in_a_pickle", "the model can't answer requests: it is pickled"),
        ("not_passed", "the model's report has not passed, so it isn't deployed: Depth"),
        ("a_number_as_time", "`time` tells when an answer is about, and the model takes the column `x` as `double`"),
    ],
)
def test_what_can_not_answer_or_has_not_passed_is_not_deployed(shell: Shell, pipeline: str, told: str) -> None:
    done = shell("run", pipeline, "--json")
    assert done.code == 1
    assert told in done.json["tasks"][-1]["reason"]
    assert shell("endpoints", "--json").json["endpoints"] == []
    assert shell("models", "--json").json["models"] == []


def test_a_version_without_a_signature_gets_the_one_that_it_is_deployed_with(shell: Shell) -> None:
    shell("run", "only_registered")
    assert "it has no signature" in shell("promote", "delays:1").err
    assert shell("run", "release").code == 0
    assert routes(shell) == ["production 1 (100%)"]
    assert shell("promote", "delays:1").code == 0


def test_a_shadow_needs_no_report_that_has_passed(shell: Shell, begun: Beginnings) -> None:
    begun(shell.folder, "run release")
    assert shell("run", "not_passed", "--shadow", "true").code == 0
    assert routes(shell)[0] == "production 1 (100%), shadow 2"


def test_an_endpoint_keeps_the_columns_that_tell_whom_and_when_until_others_are_named(
    shell: Shell, begun: Beginnings
) -> None:
    begun(shell.folder, "run release")
    assert routes(shell) == ["production 1 (100%)"]
    shell("run", "about", "--depth", "2")
    told = ", key `customer`, time `day`"
    assert routes(shell)[0] == f"production 2 (100%){told}"
    (found,) = shell("endpoints", "--json").json["endpoints"]
    assert (found["key"], found["time"]) == ("customer", "day")
    shell("run", "release", "--depth", "3")
    shell("run", "trial", "--depth", "4", "--share", "0.5")
    shell("route", "delays:1", "--share", "0.5", "--as", "other")
    shell("run", "trial", "--depth", "4", "--share", "0.8")  # it ends the other variant
    shell("run", "look", "--depth", "2")
    assert routes(shell)[0] == f"production 3 (20%), canary 4 (80%), shadow 2{told}"
    shell("rollback", "delays")
    assert routes(shell)[0] == f"production 2 (100%){told}"
    shell("alias", "model:delays:3", "production")
    shell("promote", "delays:1", "--time", "moment")
    assert routes(shell)[0] == "production 1 (100%), key `customer`, time `moment`"
    shell("run", "about", "--depth", "4", "--key", "tenant", "--canary", "0.25")
    assert routes(shell)[0] == "production 1 (75%), canary 4 (25%), key `tenant`, time `day`"
    refused = shell("promote", "delays:1", "--time", "x")
    assert (refused.code, "takes the column `x` as `double`" in refused.err) == (2, True)
    shell("retire", "delays")
    shell("promote", "delays:1")
    assert routes(shell)[0] == "production 1 (100%)"
