"""The command on a pool that is a Ray cluster: runs, drivers and heads that die, and clusters that can't be used."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.projects import PATIENCE_S, Project, check_error, lent, wait_for
from tests.servers.ray import Ray
from tests.servers.s3 import S3
from tests.wheels import only, wheel

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

CODE = """
    import os
    import time

    import headrace as hr

    @hr.stage
    def number(n: int) -> int:
        print("it is", n)
        return n

    @hr.stage(retries=1)
    def held(n: int, gate: str) -> int:
        begun = gate + ".begun"
        with open(begun, "a") as file:
            file.write("x")
        while not os.path.exists(gate):
            time.sleep(0.02)
        return n + 1

    @hr.pipeline
    def small(n: int = 1) -> None:
        number(n)

    @hr.pipeline
    def gated(gate: str = "", n: int = 1) -> None:
        number(held(number(n), gate))
"""

ELSEWHERE = """
    import headrace as hr
    import lone

    @hr.stage
    def new() -> str:
        return lone.VERSION

    @hr.stage(environment="old")
    def old(text: str) -> str:
        return f"{text} {lone.VERSION}"

    @hr.pipeline
    def mixed() -> None:
        old(new())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """A cluster, whose nodes keep the environments that they build to themselves. A test may add nodes to it."""
    server = Ray(cpus=(2, 1), environment={"HEADRACE_CACHE": str(tmp_path_factory.mktemp("nodes") / "cache")})
    yield server
    server.stop()


@pytest.fixture
def project(tmp_path: Path, server: Ray) -> Iterator[Project]:
    with on(server, tmp_path, server.address) as project:
        yield project


@contextmanager
def on(server: Ray | None, folder: Path, address: str | None) -> Iterator[Project]:
    """Return a project with a pool that is this cluster."""
    told = "" if address is None else f'address = "{address}"\n'
    with lent(folder / "project", f'[pool.there]\nbackend = "ray"\n{told}cpu = 2\nmemory_gib = 4\n') as project:
        project.write("pipelines.py", CODE)
        project.environment |= {"HOME": str(folder), **(server.credentials if server is not None else {})}
        yield project


def test_a_run_says_what_runs_always_say_and_nothing_of_ray_and_what_its_tasks_printed_can_be_read(
    project: Project,
) -> None:
    """The driver sees the node's disk."""
    done = project.headrace("run", "small", "--n", "7", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.task["number"]["state"] == "succeeded"
    assert done.task["number"]["pool"] == "there"
    assert "it is 7" in project.headrace("logs", "latest", "number").out
    again = project.headrace("run", "small", "--n", "7")
    assert again.code == 0
    assert "reused" in again.out + again.err
    assert "ray" not in (again.out + again.err).lower()


def test_a_pool_of_no_told_size_has_that_of_its_cluster(server: Ray, tmp_path: Path) -> None:
    with on(server, tmp_path, server.address) as project:
        project.write("headrace.toml", f'[pool.there]\nbackend = "ray"\naddress = "{server.address}"\n')
        project.write(
            "wide.py",
            """
            import headrace as hr

            @hr.stage(resources=hr.Resources(cpu=2))
            def wide() -> int:
                return 1

            @hr.stage(resources=hr.Resources(cpu=40))
            def wider() -> int:
                return 1

            @hr.pipeline
            def fits() -> None:
                wide()

            @hr.pipeline
            def fits_not() -> None:
                wider()
            """,
        )
        assert project.headrace("run", "wide.py:fits").code == 0
        check_error(project.headrace("run", "wide.py:fits_not"), 4, "it has 3 cpus")


def test_a_pipeline_is_planned_on_the_cluster(project: Project) -> None:
    done = project.headrace("plan", "small", "--n", "8", "--json")
    assert done.code == 0, done.err
    assert [task["decision"] for task in done.json["tasks"]] == ["run"]


def test_a_stage_runs_in_an_environment_that_is_built_on_the_cluster(project: Project, tmp_path: Path) -> None:
    project.write("pipelines.py", ELSEWHERE)
    for file, version in (("requirements.txt", "2.0"), ("requirements-old.txt", "1.0")):
        project.write(file, f"{only(tmp_path / 'wheels')}{wheel(tmp_path / 'wheels', 'lone', version)}\n")
    done = project.headrace("run", "mixed")
    assert done.code == 0, done.err
    assert "building environment `old`" in done.err
    assert project.headrace("get", "latest", "old", "--to", str(tmp_path / "got")).code == 0
    assert (tmp_path / "got").read_text() == "2.0 1.0"
    again = project.headrace("run", "mixed", "--json")
    assert {task["state"] for task in again.json["tasks"]} == {"reused"}
    project.write("requirements-old.txt", f"{only(tmp_path / 'wheels')}lone==1.0 --hash=sha256:{'0' * 64}\n")
    check_error(project.headrace("run", "mixed"), 2, "stage `old` can't have environment `old`", hint="lock again")


def test_what_a_killed_driver_left_running_is_adopted_by_the_next(project: Project, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = project.start("run", "gated", "--gate", str(gate))
    wait_for(lambda: Path(f"{gate}.begun").exists())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    gate.write_text("")
    done = project.headrace("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert done.task["held"]["attempts"] == 1
    assert Path(f"{gate}.begun").read_text() == "x"
    assert done.task["number[1]"]["state"] == "succeeded"


def test_a_run_without_a_driver_is_cancelled_with_what_it_left_running(project: Project, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = project.start("run", "gated", "--gate", str(gate))
    wait_for(lambda: Path(f"{gate}.begun").exists())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = project.headrace("cancel", "latest", "--now")
    assert done.code == 0, done.err
    shown = project.headrace("show", "latest", "--json")
    assert shown.json["state"] == "cancelled"
    assert shown.task["held"]["state"] == "cancelled"


def test_what_waits_for_capacity_says_so_in_show(server: Ray, tmp_path: Path) -> None:
    with on(server, tmp_path, server.address) as project:
        project.write("headrace.toml", (project.root / "headrace.toml").read_text() + "resources = {rare = 1}\n")
        process = project.start("run", "small")

        def waits() -> bool:
            shown = project.headrace("show", "latest", "--json")
            return shown.code == 0 and "no node of the cluster has" in shown.json["tasks"][0]["reason"]

        wait_for(waits)
        assert project.headrace("show", "latest", "--json").task["number"]["state"] == "waiting"
        node = server.add(1, '--resources={"rare": 1}')
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        server.kill(node)


def test_what_no_node_can_hold_goes_to_another_pool_that_has_room(server: Ray, tmp_path: Path) -> None:
    with on(server, tmp_path, server.address) as project:
        settings = (project.root / "headrace.toml").read_text() + "resources = {rare = 1}\n[pool.near]\ncpu = 1\n"
        project.write("headrace.toml", settings)
        done = project.headrace("run", "small", "--pool", "there,near", "--json")
        assert done.code == 0, done.err
        number = done.task["number"]
        assert (number["pool"], number["pool_reason"]) == ("near", "`there` had no room")
        assert "running" not in project.headrace("explain", "latest", "number").out


def test_a_cluster_of_our_own_is_begun_and_ended_with_the_command(tmp_path: Path) -> None:
    with on(None, tmp_path, None) as project, tempfile.TemporaryDirectory(prefix="hr-", dir="/tmp") as temporary:
        project.environment["TMPDIR"] = temporary  # its name is short: Ray's sockets lie in there
        done = project.headrace("run", "small", "--json")
        assert (done.code, done.err) == (0, ""), done.out
        assert done.task["number"]["state"] == "succeeded"
        assert not (tmp_path / ".ray").exists()
        assert not list(Path(temporary).glob("headrace-ray-*"))


def test_an_address_where_nothing_answers(tmp_path: Path) -> None:
    with on(None, tmp_path, "127.0.0.1:9") as project:
        project.write("headrace.toml", (project.root / "headrace.toml").read_text() + "headless_s = 0.5\n")
        check_error(project.headrace("run", "small"), 2, "pool `there`", "127.0.0.1:9", hint="`address`")


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with on(None, tmp_path, "somewhere") as project:
        check_error(project.headrace("run", "small"), 2, "pool `there`", "`somewhere`", hint="ray://")


def test_a_wrong_token(project: Project, tmp_path: Path) -> None:
    token = tmp_path / "wrong"
    token.write_text("0" * 64)
    project.environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    check_error(project.headrace("run", "small"), 2, "pool `there`", "token", hint="RAY_AUTH_TOKEN_PATH")


def test_no_token(project: Project) -> None:
    del project.environment["RAY_AUTH_TOKEN_PATH"]
    check_error(project.headrace("run", "small"), 2, "pool `there`", "token", hint="RAY_AUTH_TOKEN_PATH")


def test_no_token_where_the_cluster_has_that_of_the_user_s_home(project: Project, server: Ray, tmp_path: Path) -> None:
    home = tmp_path / ".ray" / "auth_token"
    home.parent.mkdir()
    shutil.copy(server.credentials["RAY_AUTH_TOKEN_PATH"], home)
    for name in server.credentials:
        del project.environment[name]
    check_error(project.headrace("run", "small"), 2, "token", hint=f"set RAY_AUTH_MODE=token: Ray then uses `{home}`")
    project.environment["RAY_AUTH_MODE"] = "token"
    assert project.headrace("run", "small").code == 0


def test_a_driver_that_is_on_no_node_is_told_of_ray_s_client(project: Project, server: Ray, tmp_path: Path) -> None:
    veil = ("bwrap", "--dev-bind", "/", "/", "--tmpfs", str(server.folder), "--")  # a node's sockets lie in there
    if shutil.which(veil[0]) is None or subprocess.run([*veil, "true"], check=False).returncode:
        pytest.skip("there are no namespaces here: apt-get install bubblewrap")
    token = tmp_path / "token"
    shutil.copy(server.credentials["RAY_AUTH_TOKEN_PATH"], token)
    project.environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    project.prefix = veil
    check_error(project.headrace("run", "small"), 2, "pool `there`", "is not a node", hint="ray://")
    project.environment["HEADRACE__POOL__THERE__ADDRESS"] = server.client_address
    assert project.headrace("run", "small").code == 0


@pytest.mark.heavy  # it installs another Ray
def test_a_cluster_of_another_ray(tmp_path: Path) -> None:
    server = Ray(cpus=(1,), environment={"PYTHONPATH": installed(tmp_path / "site", "2.55.1")})
    try:
        with on(server, tmp_path, server.address) as project:
            check_error(project.headrace("run", "small"), 2, "pool `there`", "Ray 2.55.1 and Python", hint="install")
    finally:
        server.stop()


@pytest.mark.heavy  # it installs Ray for another Python
def test_a_cluster_of_another_python(tmp_path: Path) -> None:
    minor = "3.13" if sys.version_info < (3, 13) else "3.12"
    python = next((each for each in (f"/usr/bin/python{minor}", shutil.which(f"python{minor}")) if runs(each)), None)
    if python is None:
        pytest.skip(f"there is no other Python: install python{minor}")
    site = installed(tmp_path / "site", importlib.metadata.version("ray"), "--python-version", minor)
    server = Ray(cpus=(1,), python=str(python), environment={"PYTHONPATH": site})
    try:
        with on(server, tmp_path, server.address) as project:
            check_error(project.headrace("run", "small"), 2, "pool `there`", f"Python {minor}.", hint="install")
    finally:
        server.stop()


def installed(site: Path, release: str, *options: str) -> str:
    """Return a folder into which this release of Ray was installed."""
    pip = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        "--no-compile",
    ]  # fmt: skip
    if subprocess.run([*pip, "--target", str(site), *options, f"ray[client]=={release}"], check=False).returncode:
        pytest.skip(f"Ray {release} can't be installed: check that pip reaches its index")
    return str(site)


def runs(python: str | None) -> bool:
    """Return whether this is a Python that runs: a shim may stand for one that isn't there."""
    return bool(python) and subprocess.run([str(python), "-c", ""], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_head_that_dies_ends_the_driver_and_the_run_goes_on_in_a_new_cluster(tmp_path: Path) -> None:
    server = Ray(cpus=(2,))
    try:
        with on(server, tmp_path, server.address) as project:
            project.write("headrace.toml", (project.root / "headrace.toml").read_text() + "headless_s = 2\n")
            gate = tmp_path / "gate"
            process = project.start("run", "gated", "--gate", str(gate))
            wait_for(lambda: Path(f"{gate}.begun").exists())
            server.kill_head()
            _, err = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 5, err
            assert "has not answered for 2 s" in err
            gate.write_text("")
            server.start((2,))
            done = project.headrace("resume", "latest", "--json")
            assert done.code == 0, done.err
            assert done.task["number[1]"]["state"] == "succeeded"
            assert done.task["number"]["attempts"] == 1
    finally:
        server.stop()


BUCKET = """
[store]
url = "s3://{bucket}/project"
endpoint = "{endpoint}"
region = "us-east-1"
"""


def test_nodes_that_the_store_does_not_let_in_are_named_by_doctor_and_by_a_run(project: Project, s3: S3) -> None:
    told = BUCKET.format(bucket=s3.bucket(), endpoint=s3.endpoint)
    project.write("headrace.toml", (project.root / "headrace.toml").read_text() + told)
    project.environment |= s3.environment
    node, why = f"`{socket.gethostname()}`", "there are no credentials for the store"
    checked = project.headrace("doctor", "--json")
    [pool] = [each for each in checked.json["findings"] if each["about"] == "pool there"]
    assert (checked.code, pool["state"]) == (2, "wrong")
    assert f"node {node}: {why}" in pool["found"]
    assert "AWS_ACCESS_KEY_ID" in pool["hint"]
    check_error(project.headrace("run", "small"), 2, f"on {node}: {why}", hint="AWS_ACCESS_KEY_ID")
    check_error(project.headrace("plan", "small"), 2, f"on {node}: {why}", hint="AWS_ACCESS_KEY_ID")


def test_doctor_says_when_no_node_is_one_that_the_pool_may_use(project: Project) -> None:
    toml = (project.root / "headrace.toml").read_text().replace("cpu = 2", 'cpu = 2\nlabels = {zone = "nowhere"}')
    project.write("headrace.toml", toml)
    [pool] = [each for each in project.headrace("doctor", "--json").json["findings"] if "there" in each["about"]]
    assert pool["state"] == "doubtful"
    assert "no node of the cluster has zone=nowhere" in pool["found"]
    assert "`labels`" in pool["hint"]


def test_doctor_names_the_nodes_that_have_no_headrace_and_finds_the_others_well(
    project: Project, server: Ray, tmp_path: Path
) -> None:
    (tmp_path / "without" / "headrace").mkdir(parents=True)
    (tmp_path / "without" / "headrace" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'headrace'\", name='headrace')"
    )

    def checked() -> tuple[int, dict[str, str]]:
        done = project.headrace("doctor", "--json")
        [pool] = [each for each in done.json["findings"] if "there" in each["about"]]
        return done.code, pool

    wait_for(lambda: checked()[1]["state"] == "well")  # a node that an earlier test killed has been missed
    node = server.add(1, environment={"PYTHONPATH": str(tmp_path / "without")})
    code, pool = checked()
    assert (code, pool["state"]) == (2, "wrong")
    assert f"node `{socket.gethostname()}`: it has no Headrace" in pool["found"]
    assert "install Headrace" in pool["hint"]
    server.kill(node)
