"""A project with several regions, by the real command: stores of folders and of S3, and what goes between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.backends.processes.namespace import works
from tests.projects import Project, wait_for
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import S3

PIPELINES = """
    import headrace as hr

    @hr.stage
    def source(n: int) -> bytes:
        return bytes(range(256)) * n

    @hr.stage
    def use(data: bytes, i: int) -> int:
        print("uses", i)
        return len(data) + i

    @hr.stage
    def again(data: bytes) -> bytes:
        return data[::-1]

    @hr.stage
    def total(xs: list[int]) -> int:
        return sum(xs)

    @hr.pipeline
    def flow(n: int = 4000) -> None:
        data = source(n)
        total(use.map(data, i=[1, 2, 3, 4, 5, 6]))

    @hr.pipeline
    def asks(n: int = 4000) -> None:
        data = source(n)
        if len(data.value()) > 3:
            again(data)
"""
SETTINGS = """
    [store]
    url = "home-store"

    [region.far]
    store = "far-store"

    [link.over]
    from = "local"
    to = "far"
    usd_per_gb = 1000

    [pool.a]
    cpu = 2

    [pool.b]
    cpu = 2
    region = "far"
"""
BYTES = 256 * 4000
WRITES = """
    import headrace as hr

    @hr.stage
    def source() -> bytes:
        return bytes(100_000)

    @hr.stage
    def writes(data: bytes, far: str) -> None:
        try:
            open(far + "/evil", "w").close()
        except OSError as error:
            print(error)

    @hr.pipeline
    def flow(far: str = "") -> None:
        writes(source(), far)
"""
APART = """
[pool.a]
cpu = 1

[pool.b]
cpu = 1
region = "far"

[place]
source = "b"

[region.far]
"""

needs_namespaces = pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    found = Project(tmp_path)
    found.write("pipelines.py", PIPELINES)
    found.write("headrace.toml", SETTINGS)
    yield found
    found.kill_all()


@pytest.fixture(params=["auto", "on"])
def apart(project: Project, request: pytest.FixtureRequest) -> Project:
    """The project with workers that see the project's folder, and with workers that don't."""
    if request.param == "on" and not works():
        pytest.skip("namespaces can't be had here: install bubblewrap")
    spaces = f'namespace = "{request.param}"'
    project.write("headrace.toml", SETTINGS.replace("cpu = 2", f"cpu = 2\n    {spaces}"))
    return project


@pytest.fixture
def cloud(project: Project, s3: S3) -> Project:
    """The project with its far region in a bucket."""
    project.environment |= s3.environment
    project.write(
        "cloud.toml",
        f"""
        [region.far]
        store = "s3://{s3.bucket()}/far"
        endpoint = "{s3.endpoint}"
        region = "us-east-1"
        """,
    )
    return project


def blobs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("blobs/*/*")}


def test_what_many_tasks_need_of_another_region_is_brought_once_and_priced(apart: Project) -> None:
    project = apart
    first = project.headrace("run", "flow", "--json")
    plan = project.headrace("plan", "flow", "--pool", "b", "--force", "use", "--json").json
    [planned] = [task for task in plan["tasks"] if task["kind"] == "transfer"]
    assert (planned["bytes"], planned["expected_usd"], planned["pool"]) == (BYTES, BYTES / 1e6, "b")
    assert plan["expected_usd"][0] == pytest.approx(BYTES / 1e6)
    second = project.headrace("run", "flow", "--pool", "b", "--force", "use", "--json")
    assert (first.code, second.code) == (0, 0)
    [moved] = [task for task in second.json["tasks"] if task["kind"] == "transfer"]
    assert moved["name"] == planned["name"] == f"transfer[{moved['outputs'][0]['digest'][:8]} local->far]"
    assert (moved["state"], moved["attempts"], moved["outputs"][0]["bytes"]) == ("succeeded", 1, BYTES)
    assert moved["usd"] == pytest.approx(BYTES / 1e6)
    assert moved["seconds"] > 0
    assert second.json["usd"] == pytest.approx(BYTES / 1e6)
    assert second.task["use"]["outputs"] == first.task["use"]["outputs"]
    assert blobs(project.root / "home-store") & blobs(project.root / "far-store")
    assert project.headrace("gc").code == 0
    assert project.headrace("fsck", "--deep").code == 0
    third = project.headrace("run", "flow", "--pool", "b", "--force", "use", "--json")
    assert not [task for task in third.json["tasks"] if task["kind"] == "transfer"]
    shown = json.loads(project.headrace("show", second.json["run"], "--json").out)
    assert moved in shown["tasks"]
    assert "uses 3" in project.headrace("logs", second.json["run"], "use[i=3]").out
    assert project.headrace("get", "latest", "total").code == 0


def test_the_first_run_brings_inputs_from_a_store_in_the_state_folder(project: Project) -> None:
    project.write("pipelines.py", WRITES)
    project.write("headrace.toml", APART + f"""store = "{project.home / "far"}"\n""")
    done = project.headrace("run", "flow", "--json")
    assert done.code == 0, done.err
    assert (done.task["source"]["pool"], done.task["writes"]["pool"]) == ("b", "a")


def test_what_stores_in_the_project_s_folder_hold_is_no_source_code_of_the_project(project: Project) -> None:
    for number in range(3):
        done = project.headrace("run", "flow", "--n", str(4000 + number), "--pool", ("a", "b")[number % 2])
        assert done.code == 0, done.err
    for store in ("home-store", "far-store"):
        bundles = [each for each in (project.root / store / "bundles").iterdir() if each.is_dir()]
        assert len(bundles) == 1, store  # with a file more, the code would be another bundle


@needs_namespaces
@pytest.mark.parametrize("namespace", ["auto", "on"])
def test_a_stage_in_a_namespace_cannot_write_to_another_region_s_store(
    project: Project, tmp_path_factory: pytest.TempPathFactory, namespace: str
) -> None:
    store = tmp_path_factory.mktemp("elsewhere") / "far"
    project.write("pipelines.py", WRITES)
    project.write("headrace.toml", APART.replace("cpu = 1", f'namespace = "{namespace}"') + f'store = "{store}"\n')
    done = project.headrace("run", "flow", "--far", str(store), "--json")
    assert done.code == 0, done.err
    assert "Read-only file system" in project.headrace("logs", done.json["run"], "writes").out
    assert not (store / "evil").exists()


def test_a_value_that_the_pipeline_asks_for_is_brought_to_where_it_is_asked(project: Project) -> None:
    project.headrace("run", "asks", "--json")
    second = project.headrace("run", "asks", "--pool", "b", "--json")
    assert second.code == 0
    assert second.task["again"]["state"] == "reused"
    assert len([task for task in second.json["tasks"] if task["kind"] == "transfer"]) == 1


def test_a_blob_that_is_damaged_where_it_lies_fails_what_needs_it_and_is_made_anew_by_the_next_run(
    project: Project,
) -> None:
    project.headrace("run", "flow")
    big = max((project.root / "home-store").glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    big.chmod(0o644)
    big.write_bytes(bytes(BYTES))
    second = project.headrace("run", "flow", "--pool", "b", "--force", "use", "--json")
    assert second.code == 1
    [moved] = [task for task in second.json["tasks"] if task["kind"] == "transfer"]
    assert moved["state"] == "failed"
    assert "damaged" in moved["reason"]
    assert moved["name"] in second.task["use[i=1]"]["reason"]
    third = project.headrace("run", "flow", "--pool", "b", "--json", "--force", "use")
    assert third.code == 0
    assert third.task["source"]["state"] == "succeeded"


def test_a_run_goes_on_in_another_region_with_what_it_had_made(project: Project) -> None:
    project.write("pipelines.py", PIPELINES.replace("return sum(xs)", "return 1 // 0"))
    first = project.headrace("run", "flow", "--json")
    assert first.code == 1
    project.write("pipelines.py", PIPELINES.replace("return len(data) + i", "return len(data) + i + 1"))
    second = project.headrace("resume", first.json["run"], "--new-code", "--pool", "b", "--json")
    assert second.code == 0, second.err
    assert second.task["source"]["attempts"] <= 1
    assert second.task["use[i=1]"]["pool"] == "b"
    assert len([task for task in second.json["tasks"] if task["kind"] == "transfer"]) == 1


def test_a_folder_and_a_bucket_are_two_regions_like_any_others(cloud: Project) -> None:
    over = ("--config", "cloud.toml")
    first = cloud.headrace("run", "flow", *over, "--json")
    second = cloud.headrace("run", "flow", "--pool", "b", "--force", "use", *over, "--json")
    assert (first.code, second.code) == (0, 0), second.err
    [moved] = [task for task in second.json["tasks"] if task["kind"] == "transfer"]
    assert (moved["state"], moved["outputs"][0]["bytes"], moved["usd"]) == ("succeeded", BYTES, BYTES / 1e6)
    assert second.task["use"]["outputs"] == first.task["use"]["outputs"]
    there = cloud.headrace("run", "flow", "--n", "3000", "--pool", "b", *over, "--json")
    back = cloud.headrace("run", "flow", "--n", "3000", "--force", "use", *over, "--json")
    assert (there.code, back.code) == (0, 0), back.err
    [brought] = [task for task in back.json["tasks"] if task["kind"] == "transfer"]
    assert (brought["name"][-12:], brought["usd"]) == ("far->local]", 0.0) or brought["name"].endswith("far->local]")
    assert "uses 3" in cloud.headrace("logs", there.json["run"], "use[i=3]", *over).out
    for words in (
        ("show", there.json["run"]),
        ("explain", there.json["run"], "total"),
        ("get", there.json["run"], "source"),
    ):
        done = cloud.headrace(*words, *over)
        assert done.code == 0, done.err
    secret = cloud.environment["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [path for path in cloud.home.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_a_project_whose_own_store_is_a_bucket_runs_on_this_machine(cloud: Project, s3: S3) -> None:
    cloud.write(
        "bucket.toml",
        f"""
        [store]
        url = "s3://{s3.bucket()}/runs"
        endpoint = "{s3.endpoint}"
        region = "us-east-1"
        """,
    )
    laptop = cloud.headrace("run", "flow", "--json")
    cloud.environment["HEADRACE_HOME"] = "elsewhere"
    shared = cloud.headrace("run", "flow", "--config", "bucket.toml", "--json")
    assert shared.code == 0, shared.err
    assert {name: task["outputs"] for name, task in shared.task.items()} == {
        name: task["outputs"] for name, task in laptop.task.items()
    }
    again = cloud.headrace("run", "flow", "--config", "bucket.toml", "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
    assert "uses 3" in cloud.headrace("logs", shared.json["run"], "use[i=3]", "--config", "bucket.toml").out
    shutil.rmtree(cloud.root / "elsewhere" / "local")  # as another machine sees it
    assert "uses 3" in cloud.headrace("logs", shared.json["run"], "use[i=3]", "--config", "bucket.toml").out
    cloud.headrace("gc", "--keep-runs", "0", "--config", "bucket.toml")
    assert cloud.headrace("logs", shared.json["run"], "--config", "bucket.toml").code == 2


def test_a_transfer_whose_driver_is_killed_goes_on_with_the_next_driver(cloud: Project, s3: S3) -> None:
    with Proxy(s3.port) as proxy:
        settings = (cloud.root / "cloud.toml").read_text().replace(s3.endpoint, proxy.endpoint)
        cloud.write("cloud.toml", settings)
        over = ("--config", "cloud.toml")
        cloud.headrace("run", "flow", "--pool", "b", *over)
        proxy.fault = Fault("slow", seconds=2.0, methods=("GET",))
        process = cloud.start("run", "flow", "--force", "use", *over)

        def transfer() -> dict[str, Any]:
            done = cloud.headrace("show", "latest", "--json", *over)
            tasks = done.json["tasks"] if done.code == 0 else []
            return next((task for task in tasks if task["kind"] == "transfer"), {})

        wait_for(lambda: transfer().get("state") == "running", 30.0, lambda: str(transfer()))
        process.kill()
        process.communicate()
        proxy.fault = None
        done = cloud.headrace("resume", "latest", "--json", *over)
    assert done.code == 0, done.err
    moved = transfer()
    assert (moved["state"], moved["outputs"][0]["bytes"]) == ("succeeded", BYTES)
    assert moved["attempts"] <= 2
    assert done.task["use"]["state"] == "succeeded"
    cloud.check_no_process_is_left()


def test_a_run_leaves_a_pool_that_cannot_be_reached(project: Project) -> None:
    project.write("pipelines.py", PIPELINES.replace("return sum(xs)", "return 1 // 0"))
    first = project.headrace("run", "flow", "--pool", "b", "--json")
    assert first.code == 1
    project.write("pipelines.py", PIPELINES)
    settings = SETTINGS.replace("[pool.b]\n", '[pool.b]\n    backend = "ray"\n    address = "127.0.0.1:1"\n')
    project.write("headrace.toml", settings)
    done = project.headrace("resume", first.json["run"], "--new-code", "--pool", "a")
    assert done.code == 0, done.err
    assert "attempts in pool `b` may go on there" in done.err
