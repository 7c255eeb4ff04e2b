"""One run over several pools and regions, by the real command: where its tasks ran, why, and what was said about it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, check_error, wait_for

PIPELINES = """
    import time

    import headrace as hr

    @hr.stage
    def source(n: int) -> bytes:
        return bytes(range(256)) * n

    @hr.stage(resources=hr.Resources(cpu=3))
    def fit(data: bytes, seed: int) -> bytes:
        return data[:100_000] + bytes([seed])

    @hr.stage
    def use(model: bytes, data: bytes) -> int:
        return len(model) + len(data)

    @hr.stage
    def wait(i: int) -> int:
        time.sleep(1.0)
        return i

    @hr.stage
    def last(i: int, until: str) -> int:
        open(until + f".{i}", "w").close()
        while not __import__("os").path.exists(until):
            time.sleep(0.02)
        return i

    @hr.stage
    def check(data: bytes, ok: str) -> int:
        if not __import__("os").path.exists(ok):
            raise RuntimeError("not yet")
        return len(data)

    @hr.pipeline
    def picky(ok: str = "") -> None:
        check(source(4000), ok)

    @hr.pipeline
    def flow() -> None:
        data = source(4000)
        for seed in range(2):
            use(fit(data, seed), data)

    @hr.pipeline
    def sized(n: int) -> None:
        fit(source(n), 0)

    @hr.pipeline
    def waits() -> None:
        wait.map([1, 2, 3, 4])

    @hr.pipeline
    def lasts(until: str = "") -> None:
        last.map([1, 2, 3, 4], until=until)
"""
SETTINGS = """
    [pool.laptop]
    cpu = 2

    [pool.big]
    cpu = 4
    region = "far"
    usd_per_hour = 36

    [pool.next]
    cpu = 2

    [region.far]
    store = "far-store"
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    found = Project(tmp_path)
    found.write("pipelines.py", PIPELINES)
    found.write("headrace.toml", SETTINGS)
    yield found
    found.kill_all()


def test_a_run_over_two_regions_gives_what_it_gives_in_one_and_says_where_and_why(project: Project) -> None:
    alone = project.headrace("run", "flow", "--pool", "big", "--json")
    assert alone.code == 0, alone.err
    project.headrace("gc", "--keep-runs", "0")
    done = project.headrace("run", "flow", "--pool", "laptop,big", "--force", "source", "--force", "fit", "--json")
    assert done.code == 0, done.err
    tasks = {name: task for name, task in done.task.items() if task["kind"] != "transfer"}
    assert {task["pool"] for name, task in tasks.items() if name.startswith("fit")} == {"big"}
    assert tasks["source"]["pool"] == "laptop"
    assert {name: task["outputs"] for name, task in tasks.items()} == {
        name: alone.task[name]["outputs"] for name in tasks
    }
    why = "`laptop` can't run it: it has 2 cpus"
    assert tasks["fit"]["pool_reason"] == why
    assert tasks["source"]["pool_reason"] == "it comes first among the run's pools"
    transfers = {name for name, task in done.task.items() if task["kind"] == "transfer"}
    assert {done.task[name]["pool_reason"] for name in transfers} == {"its region lacks the blob"}
    assert {name.rpartition(" ")[2] for name in transfers} == {"local->far]", "far->local]"}
    assert tasks["fit"]["usd"] > 0
    assert tasks["source"]["usd"] == 0

    assert "in pools `laptop`, `big`" in project.headrace("run", "flow", "--pool", "laptop,big").err
    shown = project.headrace("show", done.json["run"]).out
    [line] = [line for line in shown.splitlines() if " fit " in line]
    assert "big" in line
    assert why in project.headrace("show", done.json["run"], "--tasks").out.replace("\n", " ")
    assert f"in pool `big`: {why}" in project.headrace("explain", done.json["run"], "fit").out
    assert project.headrace("show", done.json["run"], "--html", "--to", "run.html").code == 0
    assert "`laptop` can&#x27;t run it" in (page := (project.root / "run.html").read_text()) or why in page
    assert project.headrace("fsck", "--deep").code == 0


def test_show_has_the_pools_if_a_run_had_several_though_all_its_tasks_ran_in_one(project: Project) -> None:
    for pools, has_column in (("laptop,next", True), ("laptop", False)):
        run = ("run", "picky", "--ok", str(project.root / "headrace.toml"), "--force", "source", "--pool", pools)
        done = project.headrace(*run)
        assert done.code == 0, done.err
        shown = project.headrace("show").out
        assert ("laptop" in shown) == has_column, shown


def test_the_plan_says_where_tasks_run_and_why(project: Project) -> None:
    plan = project.headrace("plan", "flow", "--pool", "laptop,big", "--json").json
    pools = {task["name"]: (task["pool"], task["pool_reason"]) for task in plan["tasks"]}
    assert pools["fit"] == ("big", "`laptop` can't run it: it has 2 cpus")
    assert pools["source"] == ("laptop", "it comes first among the run's pools")
    ran = project.headrace("run", "flow", "--pool", "laptop,big", "--json")
    for name in ("source", "fit", "fit[1]"):  # what finds its first pool full goes to the next
        assert ran.task[name]["pool"] == pools[name][0]


def test_the_plan_says_which_copies_to_other_regions_are_not_in_its_cost(project: Project) -> None:
    told = "neither the time nor the price of copying new outputs to other regions"
    for n in ("4000", "4001"):  # the second plan knows how long the tasks take
        before = project.headrace("plan", "sized", "--n", n, "--pool", "laptop,big")
        assert f"{told}: `source`\n" in before.err
        assert project.headrace("run", "sized", "--n", n, "--pool", "laptop,big").code == 0
    after = project.headrace("plan", "sized", "--n", "4000", "--pool", "laptop,big", "--force", "fit")
    assert told not in after.err
    assert told not in project.headrace("plan", "sized", "--n", "4002", "--pool", "big").err


def test_settings_name_the_pools_of_runs_and_those_of_single_stages(project: Project) -> None:
    project.write("headrace.toml", SETTINGS + '\n    [run]\n    pools = ["laptop", "next"]\n')
    project.write("pinned.toml", '[place]\nwait = "next"\n')
    done = project.headrace("run", "waits", "--config", "pinned.toml", "--json")
    assert done.code == 0, done.err
    elements = [task for name, task in done.task.items() if "=" in name]
    assert {task["pool"] for task in elements} == {"next"}
    assert {task["pool_reason"] for task in elements} == {"`[place]` names it for stage `wait`"}
    project.write("typo.toml", '[place]\nwiat = "next"\nfit = "big"\n')
    for command in ("run", "plan"):
        told = project.headrace(command, "waits", "--config", "typo.toml").err
        assert "`[place]` names stage `wiat`, which this pipeline doesn't have: did you mean `wait`?" in told
        assert "`fit`" not in told  # it is another pipeline's
    spread = project.headrace("run", "waits", "--force", "wait", "--json")
    elements = [task for name, task in spread.task.items() if "=" in name]
    assert sorted(task["pool"] for task in elements) == ["laptop", "laptop", "next", "next"]
    alone = project.headrace("run", "waits", "--force", "wait", "--pool", "laptop", "--config", "pinned.toml", "--json")
    assert {task["pool"] for task in alone.task.values() if task["attempts"]} == {"laptop"}


def test_wrong_names_of_pools_are_told(project: Project) -> None:
    for command in ("run", "plan"):
        check_error(project.headrace(command, "flow", "--pool", "laptop,bigg"), 2, "no pool `bigg`", hint="`big`")
        check_error(project.headrace(command, "flow", "--pool", "big,big"), 2, "`big` is named twice", hint="once")
        for names in ("big,", "", ",big"):
            check_error(project.headrace(command, "flow", "--pool", names), 2, f"`{names}` has a pool without a name")
    for text, told in (
        ('[run]\npools = ["laptop", "nope"]', "no pool `nope`"),
        ('[run]\npools = ["laptop", "laptop"]', "pool `laptop` is named twice"),
        ('[run]\npool = "big"\npools = ["laptop"]', "`[run] pools` and `[run] pool` (wrong.toml:2) are both set"),
        ('[place]\nfit = "nope"', "no pool `nope`"),
        ("[place]\nfit = 3", "`place.fit` is 3"),
    ):
        project.write("wrong.toml", text)
        check_error(project.headrace("run", "flow", "--config", "wrong.toml"), 2, "wrong.toml:", told)


def test_a_stage_that_none_of_the_pools_can_hold_is_refused_with_each_pool_s_reason(project: Project) -> None:
    for command in ("run", "plan"):
        done = project.headrace(command, "flow", "--pool", "laptop,next")
        check_error(done, 4, "`fit`", "cpu=3", "pool `laptop`: it has 2 cpus", "pool `next`: it has 2 cpus")
        assert "add a pool that can hold it: `--pool laptop,next,big`; or lower its resources" in done.err
    project.write("pinned.toml", '[place]\nfit = "laptop"\n')
    done = project.headrace("run", "flow", "--pool", "laptop,big", "--config", "pinned.toml")
    check_error(done, 4, "pool `laptop`: it has 2 cpus", hint="`[place]`")
    assert project.headrace("runs", "--json").json["runs"] == []


@pytest.mark.parametrize("pools", ["laptop,next", "next", "next,laptop,big"])
def test_a_killed_driver_s_run_is_resumed_in_its_pools_or_in_others(project: Project, pools: str) -> None:
    until = project.root / "until"
    process = project.start("run", "lasts", "--until", str(until), "--pool", "laptop,next", "--json")
    wait_for(lambda: len(list(project.root.glob("until.*"))) == 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until.touch()
    done = project.headrace("resume", "latest", "--pool", pools, "--json")
    assert done.code == 0, done.err
    elements = [task for name, task in done.task.items() if "=" in name]
    assert {task["state"] for task in elements} == {"succeeded"}
    assert {task["pool"] for task in elements} <= {"laptop", "next", "big"}
    project.check_no_process_is_left()
    assert not list((project.home / "store").glob("workers/*"))


def test_a_resume_that_cannot_use_one_of_its_pools_leaves_what_lives_in_the_others(project: Project) -> None:
    until = project.root / "until"
    process = project.start("run", "lasts", "--until", str(until), "--pool", "laptop,next", "--json")
    wait_for(lambda: len(list(project.root.glob("until.*"))) == 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.write("broken.toml", '[pool.broken]\nbackend = "none"\n')
    done = project.headrace("resume", "latest", "--config", "broken.toml", "--pool", "laptop,next,broken")
    check_error(done, 2, "pool `broken` has backend `none`")
    until.touch()
    again = project.headrace("resume", "latest", "--json")
    assert again.code == 0, again.err
    assert {task["attempts"] for name, task in again.task.items() if "=" in name} == {1}


def test_a_pool_whose_cluster_does_not_answer_is_done_without(project: Project) -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'headrace[ray]'")
    project.write("gone.toml", '[pool.away]\nbackend = "ray"\naddress = "127.0.0.1:1"\nheadless_s = 1\n')
    over = ("--config", "gone.toml")
    done = project.headrace("run", "waits", *over, "--pool", "laptop,away")
    assert done.code == 0, done.err
    assert "nothing answers at `127.0.0.1:1`; pool `away` is left out" in done.err
    shown = project.headrace("show", "latest", *over, "--json")
    assert {task["pool"] for task in shown.task.values() if task["attempts"]} == {"laptop"}
    assert "in pools" not in done.err
    assert "in pool `laptop`" in done.err
    (gone,) = shown.json["gone_pools"]
    assert (gone["pool"], gone["why"]) == ("away", "nothing answers at `127.0.0.1:1`")
    told = "went on without pool `away`: nothing answers at `127.0.0.1:1`"
    assert told in project.headrace("show", "latest", *over).out
    assert project.headrace("show", "latest", *over, "--to", "page.html").code == 0
    page = (project.root / "page.html").read_text()
    assert "went on without pool <code>away</code>: nothing answers at <code>127.0.0.1:1</code>" in page
    project.write("pinned.toml", (project.root / "gone.toml").read_text() + '[place]\nwait = "away"\n')
    pinned = project.headrace("run", "waits", "--config", "pinned.toml", "--pool", "laptop,next,away")
    check_error(
        pinned, 4, "names pool `away` for stage `wait`, and pool `away` doesn't answer", hint="--pool laptop,next`"
    )
    assert "lower its resources" not in pinned.err
    assert "goes on" not in pinned.err
    first = project.headrace("run", "waits", *over, "--pool", "away,laptop", "--force", "wait")
    check_error(first, 2, "pool `away`: nothing answers")


def test_a_run_that_failed_because_place_names_a_lost_pool_says_how_to_go_on_without_it(project: Project) -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'headrace[ray]'")
    there = '[place]\nlast = "away"\n[pool.away]\n'
    project.write("there.toml", there + "cpu = 2\n")
    project.write("gone.toml", there + 'backend = "ray"\naddress = "127.0.0.1:1"\nheadless_s = 1\n')
    until = project.root / "until"
    run = ("run", "lasts", "--until", str(until), "--pool", "laptop,away,next")
    process = project.start(*run, "--config", "there.toml")
    wait_for(lambda: len(list(project.root.glob("until.*"))) == 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until.touch()
    again = project.headrace("resume", "latest", "--config", "gone.toml")
    assert again.code == 1, again.err
    assert "in pools `laptop`, `next`" in again.err
    [hint] = re.findall(r"if `away` still doesn't answer, `headrace (.*)` continues the run without it", again.err)
    assert hint.endswith("--pool laptop,next")
    done = project.headrace(*hint.split(), "--config", "gone.toml", "--json")
    assert done.code == 0, done.err
    assert "laptop" in {task["pool"] for name, task in done.task.items() if "=" in name}


def test_a_run_is_resumed_only_in_the_pools_that_it_had_or_in_those_that_are_named(project: Project) -> None:
    project.write("headrace.toml", "[pool.laptop]\ncpu = 2\n")
    project.write(
        "fleet.toml", '[pool.big]\ncpu = 4\nregion = "far"\n[region.far]\nstore = "far-store"\n[pool.next]\ncpu = 2\n'
    )
    fleet = ("--config", "fleet.toml")
    failed = project.headrace("run", "picky", "--ok", str(project.root / "ok"), "--pool", "laptop,big,next", *fleet)
    assert failed.code == 1
    (project.root / "ok").touch()
    for words in (("resume", "latest"), ("resume", "latest", "--new-code")):
        told = "was in pool `big` and pool `next` and region `far`: the settings don't have them"
        check_error(
            project.headrace(*words), 2, told, hint="if another settings file has them, give that file as `--config`"
        )
    done = project.headrace("resume", "latest", *fleet)
    assert done.code == 0, done.err
    assert "in pools `laptop`, `big`, `next`" in done.err
    assert "had succeeded source" in done.err


@pytest.mark.parametrize("shrunk", [False, True])
def test_a_run_is_not_resumed_in_pools_that_cannot_hold_what_is_left(project: Project, shrunk: bool) -> None:
    project.write("headrace.toml", "[pool.big]\ncpu = 4\n[pool.small]\ncpu = 1\n[pool.other]\ncpu = 1\n")
    project.write(
        "pipelines.py",
        """
        import os
        import headrace as hr

        @hr.stage(resources=hr.Resources(cpu=2))
        def wide(ok: str) -> int:
            return 1 // os.path.exists(ok)

        @hr.pipeline
        def flow(ok: str) -> None:
            wide(ok)
        """,
    )
    ok = project.root / "ok"
    assert project.headrace("run", "flow", "--ok", str(ok), "--pool", "big").code == 1
    ok.touch()
    if shrunk:
        project.environment["HEADRACE__POOL__BIG__CPU"] = "1"
        check_error(project.headrace("resume", "latest"), 4, "`wide`", "cpu=2", "pool `big`: it has 1 cpu")
        del project.environment["HEADRACE__POOL__BIG__CPU"]
    else:
        for pools in ("small", "small,other"):
            done = project.headrace("resume", "latest", "--pool", pools)
            check_error(done, 4, "`wide`", "cpu=2", "pool `small`: it has 1 cpu", hint=f"`--pool {pools},big`")
    assert project.headrace("resume", "latest").code == 0  # the run has stayed as it was


@pytest.fixture
def fleet(project: Project) -> Project:
    """A project whose last run has an output in a region that only `fleet.toml` describes, and a failed task."""
    project.write("headrace.toml", "[pool.laptop]\ncpu = 2\n")
    project.write("fleet.toml", '[pool.big]\ncpu = 4\nregion = "far"\n[region.far]\nstore = "far-store"\n')
    ok = str(project.root / "ok")
    failed = project.headrace("run", "picky", "--ok", ok, "--pool", "big", "--config", "fleet.toml")
    assert failed.code == 1, failed.err
    (project.root / "ok").touch()
    return project


def test_an_output_that_may_be_in_a_region_of_other_settings_is_never_called_missing(fleet: Project) -> None:
    told, hint = "it may be in region `far`, which isn't in the settings", "add `[region.far]` to the settings"
    for words in (("get", "latest", "source"), ("debug", "latest", "check")):
        check_error(fleet.headrace(*words), 2, told, hint=hint)
    for words in ((), ("--pool", "laptop")):
        done = fleet.headrace("resume", "latest", *words)
        check_error(done, 2, f"its code is in no store of the settings; {told}", hint=hint)
    assert told in fleet.headrace("logs", "latest").out
    fleet.write("here.toml", '[region.far]\nstore = "far-store"\n')  # the code of the run is brought from there
    assert fleet.headrace("resume", "latest", "--pool", "laptop", "--config", "here.toml").code == 0
    assert fleet.headrace("get", "latest", "source").code == 0


def test_a_run_that_needs_an_input_in_a_region_of_other_settings_is_not_resumed_and_the_input_is_reused(
    project: Project,
) -> None:
    project.write("headrace.toml", "[pool.laptop]\ncpu = 2\n")
    project.write(
        "fleet.toml",
        '[pool.big]\ncpu = 4\nregion = "far"\n[region.far]\nstore = "far-store"\n[place]\nsource = "big"\n',
    )
    ok, config = ("--ok", str(project.root / "ok")), ("--config", "fleet.toml")
    assert project.headrace("run", "picky", *ok, *config, "--pool", "laptop,big").code == 1
    (project.root / "ok").touch()
    (blob,) = (path for path in (project.home / "store" / "blobs").glob("*/*") if path.stat().st_size == 1_024_000)
    blob.unlink()  # the copy that was brought for `check`
    told = "it may be in region `far`, which isn't in the settings"
    for words in ((), ("--pool", "laptop")):
        done = project.headrace("resume", "latest", *words)
        check_error(done, 2, f"an input of `check` is in no store of the settings; {told}", hint="add `[region.far]`")
    lacking = project.headrace("plan", "picky", *ok, "--json").json["tasks"]
    assert f"is not in the store; {told}" in {task["name"]: task["reason"] for task in lacking}["source"]
    planned = project.headrace("plan", "picky", *ok, *config, "--json").json
    assert {task["name"]: task["decision"] for task in planned["tasks"]}["source"] == "reuse"
    again = project.headrace("run", "picky", *ok, "--json")
    assert "may be in region `far`" in again.task["source"]["reason"]
    (first, _) = project.headrace("runs", "--json").json["runs"][::-1]
    done = project.headrace("resume", first["run"], "--pool", "laptop", *config, "--json")
    assert done.code == 0, done.err
    assert done.task["source"]["attempts"] == 1
