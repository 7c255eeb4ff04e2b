"""A run waits for somebody's approval without a process, and the command that decides goes on with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import shell
from headrace.cli.terminal import summary
from headrace.errors import LeaseHeld
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.tracking import TrackingViews
from headrace.operate import approval, session
from headrace.project.state import open_ledger, views
from tests.cli.conftest import Beginnings
from tests.cli.people import team
from tests.ledger.samples import edit, rows
from tests.projects import Done, Project, check_error, finish, lent, wait_for
from tests.servers.postgres import Postgres

PIPELINES = """
import os
import time

import headrace as hr
from headrace.stages import registry


@hr.stage
def fit(depth: int) -> dict:
    return {"depth": depth}


@hr.stage(kind="deploy", cache=False, approval="risk-team", within="3d")
def publish(model: dict) -> str:
    return "published"


@hr.stage
def tell(what: str) -> str:
    return what.upper()


@hr.stage(cache=False)
def slow() -> int:
    time.sleep(600)
    return 1


@hr.pipeline
def flow(depth: int = 3) -> None:
    tell(publish(fit(depth)))


@hr.stage(cache=False, approval="risk-team")
def send(m: int) -> int:
    return m


@hr.pipeline
def registers() -> None:
    registry.model.with_options(approval="risk-team")("income", fit(3))


@hr.pipeline
def each() -> None:
    send.map(m=[1, 2, 3])


@hr.pipeline
def asks() -> None:
    if hr.value(publish(fit(3))) == "published":
        tell("yes")


@hr.pipeline
def beside() -> None:
    publish(fit(3))
    slow()


@hr.pipeline
def registered() -> None:
    registry.model.with_options(approval="risk-team")("trees", fit(3))
"""

TOML = """
[project]
pipelines = ["pipelines.py"]
[run]
approve_own = {own}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project in which one may approve one's own runs: nobody else is here."""
    with lent(tmp_path, TOML.format(own="true")) as project:
        project.write("pipelines.py", PIPELINES)
        yield project


def waits(project: Project, *words: str) -> str:
    """Run a pipeline until it waits, and return its id."""
    done = project.headrace("run", *words, "--json")
    assert (done.code, done.json["state"]) == (6, "waiting"), done.out + done.err
    run: str = done.json["run"]
    return run


@pytest.fixture
def waiting(project: Project, begun: Beginnings) -> str:
    """Return the id of a run of `flow` in the project, which waits."""
    begun(project.root, "run flow")
    shown = project.headrace("show", "--json").json
    assert shown["state"] == "waiting"
    run: str = shown["run"]
    return run


def states(done: Done) -> dict[str, str]:
    return {name: task["state"] for name, task in done.task.items()}


def check_nothing_is_held(address: str | Path, run: str) -> None:
    with closing(Ledger(address)) as ledger:
        assert ledger.holder(run) is None
        assert [*ledger.leases.all()] == []
        assert rows(ledger, "select * from grants") == []


def test_a_run_that_waits_has_no_process_and_says_for_whom_it_waits(project: Project) -> None:
    run = waits(project, "flow")
    project.check_no_process_is_left()
    check_nothing_is_held(project.home / "ledger.db", run)
    shown = project.headrace("show", run)
    assert "waits for approval by risk-team until " in shown.out
    assert "driver is gone" not in shown.out
    assert "was to be approved" not in shown.out
    listed = project.headrace("runs", "--json").json["runs"][0]
    assert (listed["state"], listed["why"].split(" until ")[0]) == (
        "waiting",
        "`publish` waits for approval by risk-team",
    )
    plain = project.headrace("resume", run)
    assert plain.code == 6
    assert f"run {run} waits, after " in plain.out
    assert "headrace approve" in plain.err


def test_a_plan_says_who_must_approve(project: Project) -> None:
    reasons = {task["name"]: task["reason"] for task in project.headrace("plan", "flow", "--json").json["tasks"]}
    assert reasons["publish"].endswith("; waits for approval by risk-team first")


def test_time_costs_a_run_nothing_while_it_waits(project: Project, waiting: str) -> None:
    before = project.headrace("show", waiting, "--json").json
    with closing(Ledger(project.home / "ledger.db")) as ledger:  # as if it had begun an hour ago
        edit(ledger, "update runs set created = created - 3600")
    after = project.headrace("show", waiting, "--json").json
    assert (after["seconds"], after["usd"], after["state"]) == (before["seconds"], before["usd"], "waiting")
    project.check_no_process_is_left()


def test_a_resume_never_takes_away_time_that_was_counted(project: Project) -> None:
    first, run = waits(project, "flow"), waits(project, "flow")  # the second reuses `fit`, and launches nothing
    for each in (first, run):
        before = project.headrace("show", each, "--json").json["seconds"]
        assert 0 < before <= project.headrace("resume", each, "--json").json["seconds"]
        assert project.headrace("reject", each, "--why", "no", "--json").json["seconds"] >= before


def test_an_approval_goes_on_with_the_run_and_is_told_with_its_reason(project: Project, waiting: str) -> None:
    done = project.headrace("approve", waiting, "publish", "--why", "AUC 0.91 is fine", "--json")
    assert (done.code, done.json["state"]) == (0, "succeeded"), done.out + done.err
    assert states(done) == {"fit": "succeeded", "publish": "succeeded", "tell": "succeeded"}
    assert "; approved by " in done.task["publish"]["reason"]
    assert done.task["publish"]["reason"].endswith(": AUC 0.91 is fine")
    assert project.headrace("replay", waiting).code == 0
    assert waits(project, "flow") != waiting, "the next run is asked about again"


def test_a_rejection_refuses_the_run_and_a_resume_asks_again(project: Project, waiting: str) -> None:
    done = project.headrace("reject", waiting, "--why", "not on a Friday", "--json")
    assert (done.code, done.json["state"]) == (4, "refused")
    assert "not on a Friday" in done.json["why"]
    assert states(done) == {"fit": "succeeded", "publish": "skipped", "tell": "skipped"}
    assert project.headrace("resume", waiting).code == 6
    assert project.headrace("approve", waiting, "--why", "it is Monday").code == 0
    assert project.headrace("replay", waiting).code == 0


def test_a_body_that_waits_for_the_value_of_such_a_task_waits_too(project: Project) -> None:
    run = waits(project, "asks")
    project.check_no_process_is_left()
    done = project.headrace("approve", run, "--why", "fine", "--json")
    assert states(done) == {"fit": "succeeded", "publish": "succeeded", "tell": "succeeded"}


def test_a_ready_made_stage_waits_by_an_option_and_registers_nothing_before(project: Project) -> None:
    run = waits(project, "registered")
    assert project.headrace("models", "--json").json["models"] == []
    assert project.headrace("approve", run, "--why", "fine").code == 0
    assert [each["version"] for each in project.headrace("models", "--json").json["models"]] == [1]


def test_a_decision_may_be_recorded_for_the_next_driver(project: Project, waiting: str) -> None:
    done = project.headrace("approve", waiting, "--why", "fine", "--later")
    assert done.code == 0
    assert f"`headrace resume {waiting}` goes on" in done.err
    assert f": fine; `headrace resume {waiting}` obeys that" in project.headrace("show", waiting).out
    assert project.headrace("resume", waiting).code == 0


def test_a_living_driver_is_told(project: Project) -> None:
    process = project.start("run", "beside", "--json")
    wait_for(lambda: "waits for approval" in project.headrace("show", "latest", "--tasks").out)
    done = project.headrace("approve", "latest", "--why", "fine")
    assert (done.code, "its driver was told" in done.err) == (0, True)
    wait_for(lambda: states(project.headrace("show", "latest", "--json"))["publish"] == "succeeded")
    project.headrace("cancel", "latest", "--now")
    assert finish(process).code == 3


@pytest.mark.parametrize("is_held", [False, True], ids=["its lease is free", "its driver has the lease still"])
def test_a_decision_about_a_run_that_has_just_ended_has_no_effect_then_nor_later(
    project: Project, waiting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_held: bool
) -> None:

    def after_the_end(project_: Any) -> Any:
        """Open the ledger to store the decision. The run has ended since the command looked at it."""
        assert project.headrace("cancel", waiting).code == 0
        return open_ledger(project_)

    def closing(*_: object, **__: object) -> None:
        raise LeaseHeld("the run has a driver")

    opened: list[TrackingViews] = []

    def read(project_: Any) -> TrackingViews:
        opened.append(views(project_))
        return opened[-1]

    monkeypatch.setattr(summary, "read", read)
    monkeypatch.setattr(approval, "open_ledger", after_the_end)
    if is_held:
        monkeypatch.setattr(session, "go_on", closing)
    monkeypatch.chdir(project.root)
    assert shell.run(["approve", waiting, "--why", "fine"]) == 3
    opened.pop().close()  # the end of a command's process would
    told = capsys.readouterr().err
    assert f"no task of run {waiting} is approved by this" in told
    assert "its driver was told" not in told
    resumed = project.headrace("resume", waiting)
    assert resumed.code == 6, resumed.err
    assert "has no effect: it was meant for a run that was ending" in resumed.err
    assert states(project.headrace("show", waiting, "--json"))["publish"] == "waiting"


def test_people_are_told_that_a_run_waits(project: Project) -> None:
    command = json.dumps(["sh", "-c", "cat > told"])
    project.write("headrace.toml", TOML.format(own="true") + f"[notify]\ncommand = {command}\n")
    run = waits(project, "flow")
    told = json.loads((project.root / "told").read_text())
    assert (told["type"], told["data"]["run"]) == ("run.waiting", run)
    assert "waits: `publish` waits for approval by risk-team" in told["text"]


def test_a_run_that_waits_can_be_cancelled_and_a_detached_one_waits_too(project: Project) -> None:
    run = project.headrace("run", "flow", "--detach").out.strip()
    wait_for(lambda: project.headrace("show", run, "--json").json["why"].startswith("`publish` waits"))
    project.check_no_process_is_left()
    assert "is cancelled; it had no driver" in project.headrace("cancel", run).err
    assert project.headrace("show", run, "--json").json["state"] == "cancelled"


def test_what_comes_too_late_is_refused_at_once_and_a_resume_ends_the_run(project: Project) -> None:
    project.write("pipelines.py", PIPELINES.replace('"3d"', "1"))
    run = waits(project, "flow")
    time.sleep(1.1)
    done = project.headrace("reject", run, "--why", "too dear")
    hint = f"`headrace resume {run}` refuses the task"
    check_error(done, 4, f"it is too late to reject `publish` of run {run}", hint=hint)
    done = project.headrace("resume", run, "--json")
    assert (done.code, done.json["state"]) == (4, "refused")
    assert "nobody approved it in time" in done.json["why"]


def test_the_first_decision_about_a_task_counts_even_if_no_driver_has_read_it(project: Project) -> None:
    run = waits(project, "each")
    rejected = project.headrace("reject", run, "send[m=2]", "--later", "--why", "two is bad")
    assert f"`send[m=2]` of run {run} is recorded as rejected; " in rejected.err
    shown = project.headrace("show", run).out
    assert "`send[m=2]` was rejected by " in shown
    again = project.headrace("approve", run, "send[m=2]", "--why", "two is fine")
    check_error(again, 2, "`send[m=2]` was rejected by ", hint="the first decision counts")
    done = project.headrace("approve", run, "send", "--why", "the rest")
    assert done.code == 4
    assert f"`send[m=1]`, `send[m=3]` of run {run} are approved" in done.err
    assert "two is bad; this was decided first, so it counts" in done.err
    assert "has no effect" not in done.err
    ended = states(project.headrace("show", run, "--json"))
    assert [ended[f"send[m={m}]"] for m in (1, 2, 3)] == ["succeeded", "skipped", "succeeded"]


def test_a_map_whose_elements_all_wait_waits_too(project: Project) -> None:
    run = waits(project, "each")
    assert set(states(project.headrace("show", run, "--json")).values()) == {"waiting"}
    assert project.headrace("replay", run).code == 0
    project.headrace("approve", run, "--why", "fine")
    assert set(states(project.headrace("show", run, "--json")).values()) == {"succeeded"}


def test_whoever_started_a_run_cannot_approve_it(project: Project) -> None:
    project.write("headrace.toml", TOML.format(own="false"))
    run = waits(project, "flow")
    done = project.headrace("approve", run, "--why", "I trust me")
    check_error(done, 4, "somebody else must approve", hint="approve_own")
    project.write("headrace.toml", TOML.format(own="true"))
    check_error(project.headrace("approve", run, "--why", "I trust me"), 4, "somebody else must approve")
    assert project.headrace("reject", run, "--why", "I was wrong").code == 4


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["approve", "latest", "tell", "--why", "x"], "task `tell` of run"),
        (["approve", "latest", "--why", "  "], "`--why` is empty"),
        (["approve", "nothing", "--why", "x"], "there is no run `nothing`"),
        (["approve", "latest"], "missing option '--why'"),
    ],
)
@pytest.mark.usefixtures("waiting")
def test_a_decision_about_nothing_is_refused(project: Project, words: list[str], why: str) -> None:
    check_error(project.headrace(*words), 2, why)


def test_a_run_that_has_ended_waits_for_nobody(project: Project, waiting: str) -> None:
    project.headrace("reject", waiting, "--why", "no")
    check_error(project.headrace("approve", "latest", "--why", "yes"), 2, "has ended already (refused)")


@pytest.mark.parametrize("declared", ["approval=' '", "within='3d'", "approval=7", "approval='a', within=0"])
def test_a_declaration_that_makes_no_sense_is_refused(project: Project, declared: str) -> None:
    project.write("pipelines.py", PIPELINES.replace('approval="risk-team", within="3d"', declared))
    check_error(project.headrace("run", "flow"), 2, "stage `publish` has ")


def test_on_a_server_nothing_remains_and_another_role_s_approval_goes_on(tmp_path: Path, postgres: Postgres) -> None:
    with lent(tmp_path, "") as project:
        project.write("pipelines.py", PIPELINES)
        mark = team(postgres, project)
        run = waits(project, "flow", "--config", "ada.toml")
        project.check_no_process_is_left()
        check_nothing_is_held((project.root / "ada.toml").read_text().split('"')[1], run)
        own = project.headrace("approve", run, "--why", "I trust me", "--config", "ada.toml")
        check_error(own, 4, f"`ada_{mark}` started run {run}")
        done = project.headrace("approve", run, "--why", "fine", "--config", "bob.toml", "--json")
        assert (done.code, done.json["state"]) == (0, "succeeded"), done.out + done.err
        assert f"; approved by bob_{mark}: fine" in done.task["publish"]["reason"]


def test_the_card_tells_who_started_what_was_approved_by_whom_when_and_why(tmp_path: Path, postgres: Postgres) -> None:
    with lent(tmp_path, "") as project:
        project.write("pipelines.py", PIPELINES)
        mark = team(postgres, project)
        run = waits(project, "registers", "--config", "ada.toml")
        began = time.time()
        assert project.headrace("approve", run, "--why", "no worse | for *any* group", "--config", "bob.toml").code == 0
        card = project.headrace("card", "model:income", "--config", "ada.toml", "--json").json
        (told,) = card["approvals"]
        assert began <= told.pop("at") <= time.time()
        assert told == {
            "run": run,
            "task": "register_model",
            "asked": "risk-team",
            "authors": [f"ada_{mark}"],
            "decision": "approved",
            "by": f"bob_{mark}",
            "why": "no worse | for *any* group",
            "of": {"model": card["digest"]},
        }
        text = project.headrace("card", "model:income", "--config", "ada.toml").out.replace("\\", "")
        assert f"| ada_{mark} | approved by bob_{mark} |" in text
        assert f"model `{card['digest'][:12]}`" in text


def test_the_card_tells_a_rejection_and_the_approval_that_came_later(project: Project) -> None:
    run = waits(project, "registers")
    assert project.headrace("reject", run, "--why", "too early").code == 4
    assert project.headrace("resume", run).code == 6
    assert project.headrace("approve", run, "--why", "now").code == 0
    told = project.headrace("card", "model:income", "--json").json["approvals"]
    assert [(each["decision"], each["why"]) for each in told] == [("rejected", "too early"), ("approved", "now")]
    assert project.headrace("gc", "--keep-runs", "0").code == 0
    assert project.headrace("card", "model:income", "--json").json["approvals"] == told
