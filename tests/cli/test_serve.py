"""`headrace serve` on the real command: a deployed model answers, whatever happens to its processes."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pyarrow as pa
import pytest

from headrace.backends.processes.namespace import works
from headrace.models.streams import stream_of
from tests.projects import Project, lent, wait_for
from tests.serve.predictions.checker import check, in_segments
from tests.serve.site import certified

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, whose models are served here, is not installed")

PIPELINES = """
import pyarrow as pa
import pyarrow.compute as pc

import headrace as hr
from headrace.stages import deploy


def times(model: dict, rows: pa.Table) -> pa.Table:
    return pa.table({"predicted": pc.multiply(rows["x"], model["slope"])})


@hr.stage(kind="train")
def fit(slope: float) -> dict:
    return {"slope": slope}


X = pa.table({"x": [1.0]})


@hr.pipeline
def release(slope: float = 1.0) -> None:
    deploy.endpoint(fit(slope), "lines", predict=times, signature=X)


@hr.pipeline
def trial(slope: float = 1.0, share: float = 0.5) -> None:
    deploy.endpoint(fit(slope), "lines", predict=times, signature=X, canary=share)


@hr.pipeline
def sticky(slope: float = 1.0, share: float = 0.0) -> None:
    deploy.endpoint(fit(slope), "lines", predict=times, signature=X, canary=share, key="customer", time="day")
"""
"""What is served where the model doesn't matter: one that costs hardly anything."""
FITTED = """
import numpy as np
import pyarrow as pa
from sklearn.linear_model import LinearRegression

import headrace as hr
from headrace.stages import deploy, prepare, train


@hr.stage(kind="ingest")
def rows(slope: float) -> pa.Table:
    x = np.arange(50.0)
    return pa.table({"x": x, "unit": ["m" if each % 2 else "km" for each in range(50)], "y": slope * x})


@hr.stage(kind="ingest")
def line(slope: float) -> pa.Table:
    return pa.table({"x": np.arange(50.0), "y": slope * np.arange(50.0)})


@hr.pipeline
def release(slope: float = 1.0) -> None:
    deploy.endpoint(train.sklearn(LinearRegression(), line(slope), target="y"), "lines")


@hr.pipeline
def prepared(wrong: bool = False) -> None:
    rules = (prepare.Fill(columns="x", how="mean"), prepare.Map(columns="unit", values={"m": "1", "km": "2"}),
             prepare.Cast(columns="unit", type="int64", otherwise="quarantine"))
    cleaned = prepare.clean(rows(2.0), rules)
    model = train.sklearn(LinearRegression(), cleaned.table, target="y")
    deploy.endpoint(model, "clean", preparation=cleaned.preparation, sample=raw(wrong))


@hr.stage(kind="prepare")
def doubled(table: pa.Table) -> pa.Table:
    return table.append_column("x2", table["x"])


@hr.pipeline
def unfit() -> None:
    cleaned = prepare.clean(line(2.0), [prepare.Fill(columns="x", how="mean")])
    model = train.sklearn(LinearRegression(), doubled(cleaned.table), target="y")
    deploy.endpoint(model, "clean", preparation=cleaned.preparation)


@hr.stage(kind="ingest")
def raw(wrong: bool) -> pa.Table:
    x = [1.0, None, 3.0, 4.0]
    answers = [2.0, 49.0, 6.0 + wrong, None]
    return pa.table({"x": x, "unit": ["m", "km", "m", "mile"], "predicted": answers})
"""


SOON_S = 4.0
"""Until when what the ledger says must hold in a server. It looks twice a second, but this machine may be slow."""


class Client:
    """Asks a server, and keeps what it acknowledged: ids of predictions with the answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: dict[str, Any] = {}
        self.failures: list[str] = []
        self.versions: list[tuple[float, str]] = []

    def post(self, body: object, endpoint: str = "lines", **headers: str) -> tuple[int, Any]:
        """Ask an endpoint once; return the status and the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            given = {"content-type": "application/json", **headers}
            connection.request("POST", f"/v1/endpoints/{endpoint}/predict", data, given)
            answer = connection.getresponse()
            found = answer.read()
            is_json = answer.headers["content-type"] == "application/json"
            return answer.status, json.loads(found) if is_json else found

    def get(self, path: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def ask(self, x: float) -> str:
        """Ask about a number; return the version that answered, or what failed."""
        try:
            status, answer = self.post({"records": [{"x": x}]})
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error!r}"
        if status != 200:
            return f"{status}: {answer['error']}"
        (found,), (prediction,) = answer["ids"], answer["predictions"]
        assert found not in self.acknowledged, "an id was given twice"
        self.acknowledged[found] = (x, prediction["predicted"])
        return str(answer["version"])

    @contextmanager
    def load(self, clients: int = 3, pause_s: float = 0.0) -> Iterator[None]:
        """Ask all the time meanwhile, with pauses, and note what was answered when."""
        ends = threading.Event()

        def work(number: int) -> None:
            count = 0
            while not ends.wait(pause_s):
                count += 1
                found = self.ask(number + count / 1_000)
                if found.startswith("lines:"):
                    self.versions.append((time.monotonic(), found))
                else:
                    self.failures.append(found)

        threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ends.set()
            for thread in threads:
                thread.join()


class Served(Client):
    """A server that runs, with its output in a file."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self.output = output
        told = re.compile(r"serving on http://127.0.0.1:(\d+)")
        super().__init__(int(wait_for(lambda: told.search(output.read_text()), why=output.read_text)[1]))

    def model_processes(self) -> list[psutil.Process]:
        """Return the model processes: those inside the namespaces."""
        every = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in every if "bwrap" not in each.name() and "model_host" in " ".join(each.cmdline())]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@pytest.fixture
def fitted(project: Project) -> Project:
    """A project whose models are scikit-learn's: importing that costs each process 2 s."""
    project.write("pipelines.py", FITTED)
    return project


@contextmanager
def serving(project: Project, *words: str, **more: Any) -> Iterator[Served]:
    """Run a server, and end it by SIGTERM if it still runs."""
    output = project.root / f"serve-{time.monotonic_ns()}.log"
    with output.open("w") as file:
        process = project.start("serve", *words, "--port", "0", out=file, err=file, **more)
    try:
        served = Served(process, output)
        wait_for(lambda: served.get("/ready") == 200, why=output.read_text)
        yield served
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, output.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def deploy(project: Project, *words: str) -> None:
    done = project.headrace("run", *words)
    assert done.code == 0, done


def deployed(project: Project, *runs: str) -> None:
    """Let these runs have succeeded in a project that has none yet.

    They happen once, in a project of their own with the same files, whose `.headrace` is copied: a run costs 5 s.
    """
    files = {path.name: path.read_text() for path in sorted(project.root.iterdir()) if path.is_file()}
    shutil.copytree(_home_after(runs, tuple(files.items())), project.home)


@cache
def _home_after(runs: tuple[str, ...], files: tuple[tuple[str, str], ...]) -> Path:
    """Return the folder `.headrace` after these runs of a project with these files."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-deployed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with lent(folder / "project") as project:
        project.environment["HEADRACE_CACHE"] = str(folder / "cache")
        for name, text in files:
            project.write(name, text)
        if runs[:-1]:
            shutil.copytree(_home_after(runs[:-1], files), project.home)
        deploy(project, *runs[-1].split())
    return project.home


def logged(project: Project) -> dict[str, Any]:
    """Return the logged predictions by id: what was asked and answered."""
    found = project.headrace("predictions", "lines", "--to", "all.jsonl")
    assert found.code == 0, found
    lines = [json.loads(line) for line in (project.root / "all.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines), "a prediction is in the log twice"
    (project.root / "all.jsonl").unlink()
    return {line["id"]: (line["input"]["x"], line["output"]["predicted"]) for line in lines}


def check_logged(project: Project, served: Client) -> None:
    """Check that each acknowledged prediction is in the log once, as it was answered."""
    found = logged(project)
    assert {each: found.get(each) for each in served.acknowledged} == served.acknowledged


def test_a_deployed_model_answers_records_and_rows_in_arrow_and_its_answers_are_logged(fitted: Project) -> None:
    deployed(fitted, "release --slope 2")
    with serving(fitted) as served:
        status, answer = served.post({"records": [{"x": 1.5}, {"x": 4.0}], "ids": ["a", "b"]})
        assert status == 200
        assert [each["predicted"] for each in answer["predictions"]] == pytest.approx([3.0, 8.0])
        assert (answer["variant"], answer["version"]) == ("production", "lines:1")
        assert served.get("/health") == 200
        status, answer = served.post({"records": [{"x": "much"}, {"z": 1.0}]})
        assert (status, answer["error"]) == (422, "RecordsRefused")
        assert [(each["record"], each["field"]) for each in answer["faults"]] == [(0, "x"), (1, "x"), (1, "z")]
        assert served.post({"records": [{"x": 1.0}]}, "curves")[0] == 404
        assert served.post({"records": [{"x": 1.0}]}, origin="http://evil.example")[0] == 403
        records = logged(fitted)
        assert len(records) == 2
        rows = pa.table({"x": pa.array(range(5_000), pa.float64())})
        status, answer = served.post(stream_of(rows), **{"content-type": "application/vnd.apache.arrow.stream"})
        assert status == 200
        with pa.ipc.open_stream(answer) as stream:
            table = stream.read_all()
        assert table.column("predicted").to_pylist() == pytest.approx([2.0 * x for x in range(5_000)], abs=1e-9)
        found = logged(fitted)
        given = dict(zip(table.column("id").to_pylist(), rows.column("x").to_pylist(), strict=True))
        assert {each: x for each, (x, _) in found.items() if each not in records} == given
        wrong = stream_of(pa.table({"z": [1.0]}))
        status, refused = served.post(wrong, **{"content-type": "application/vnd.apache.arrow.stream"})
        assert (status, refused["error"]) == (422, "RowsRefused")
    assert logged(fitted) == found


def test_settings_say_what_an_endpoint_takes_and_how_much_memory_a_model_may_take(project: Project) -> None:
    settings = """
        [project]
        pipelines = ["pipelines.py"]
        [serve]
        unknown = "take"
        memory_gib = 4
        [endpoint.lines]
        null = "refuse"
        [endpoint.other]
        missing = "take"
    """
    deployed(project, "release")
    project.write("headrace.toml", settings)
    with serving(project) as served:
        assert served.post({"records": [{"x": 1.0, "more": 1}]})[0] == 200
        status, answer = served.post({"records": [{"x": None}]})
        assert (status, answer["faults"][0]["what"]) == (422, "it is null")
        (process,) = served.model_processes()
        assert process.rlimit(psutil.RLIMIT_DATA)[0] == 8 << 30
        assert "`[endpoint.other]` has settings, and there is no endpoint `other` yet" in served.output.read_text()
    project.write("headrace.toml", settings.replace('null = "refuse"', "memory_gib = 0.01"))
    output = project.root / "small.log"
    with output.open("w") as file:
        process = project.start("serve", "--port", "0", out=file, err=file)
    try:
        wait_for(lambda: "version 1 of endpoint `lines` can't be started" in output.read_text(), why=output.read_text)
    finally:
        process.kill()
        process.wait()


def test_the_blobs_of_a_version_that_is_retired_are_deleted(project: Project) -> None:
    deployed(project, "release", "trial --slope 2")
    with serving(project) as served:
        wait_for(lambda: len(served.model_processes()) == 2)
        (folder,) = project.home.glob("models-*")
        assert {each.name.rpartition("-")[0] for each in folder.iterdir()} == {"lines-1", "lines-2"}
        assert project.headrace("retire", "lines", "canary").code == 0
        wait_for(lambda: [each.name.rpartition("-")[0] for each in folder.iterdir()] == ["lines-1"])
        assert served.ask(1.0) == "lines:1"


def test_a_model_is_deployed_only_if_it_answers_the_sample_as_it_should(fitted: Project) -> None:
    deployed(fitted, "release --slope 2", "prepared")
    failed = fitted.headrace("run", "prepared", "--wrong", "true", "--json")
    assert failed.code == 1
    told = "two answers for row 2 of the sample differ: `predicted` is 7.0 in the sample, and "
    assert told in failed.task["deploy_endpoint"]["reason"]
    assert len(fitted.headrace("models", "clean", "--json").json["models"]) == 1
    clean, _ = fitted.headrace("endpoints", "--json").json["endpoints"]
    assert clean["variants"][0]["version"] == 1


def test_a_preparation_that_does_not_give_what_the_model_takes_is_told_before_it_is_served(fitted: Project) -> None:
    failed = fitted.headrace("run", "unfit", "--json")
    assert failed.code == 1
    told = "the preparation doesn't give `x2`, which the model takes"
    assert told in failed.task["deploy_endpoint"]["reason"]
    named = fitted.headrace("register", "latest", "sklearn", "--model", "clean", "--preparation", "clean")
    assert (named.code, "its preparation doesn't give `x2`, which the model takes" in named.err) == (2, True), named
    found = fitted.headrace("register", "latest", "sklearn", "--model", "clean", "--json").json
    assert found["preparation"] is None
    assert found["note"] == "its preparation doesn't give `x2`, which the model takes: it is left out"
    assert fitted.headrace("promote", "clean").code == 0


def test_promote_and_rollback_take_effect_at_once_and_no_request_fails(project: Project) -> None:
    deployed(project, "release")
    with serving(project) as served, served.load(pause_s=0.05):
        deploy(project, "trial", "--slope", "2")
        wait_for(lambda: any(version == "lines:2" for _, version in served.versions))
        wanted = {"promote": "lines:2", "rollback": "lines:1"}
        for words, version in (("promote lines:2", "lines:2"), ("rollback lines", "lines:1")):
            assert project.headrace(*words.split()).code == 0
            moved = time.monotonic()
            time.sleep(SOON_S + 1.0)
            late = [found for at, found in served.versions if at > moved + SOON_S]
            assert late
            assert set(late) == {wanted[words.split()[0]]} == {version}
    assert served.failures == []
    check_logged(project, served)


def test_a_customer_keeps_a_variant_and_a_share_that_grows_moves_nobody_back(project: Project) -> None:
    customers = [f"customer {number}" for number in range(400)]
    records = [{"x": 1.0, "customer": each, "day": "2026-11-30"} for each in customers]

    def versions(served: Served) -> list[str]:
        status, answer = served.post({"records": records})
        assert status == 200, answer
        return answer.get("versions") or [answer["version"]] * len(records)

    def canaries(served: Served) -> int:
        return versions(served).count("lines:2")

    deployed(project, "sticky", "sticky --slope 2 --share 0.2")
    with serving(project) as served:
        wait_for(lambda: canaries(served) > 0)
        before = versions(served)
        assert 40 < before.count("lines:2") < 120
        for record, version in list(zip(records, before, strict=True))[:20]:
            status, answer = served.post({"records": [record]})
            assert (status, answer["version"]) == (200, version)
            assert answer["predictions"][0]["predicted"] == pytest.approx({"lines:1": 1.0, "lines:2": 2.0}[version])
        assert served.post({"records": [{"x": 1.0}]})[1]["faults"][0]["field"] == "customer"
        assert project.headrace("route", "lines:2", "--share", "0.5").code == 0
        wait_for(lambda: canaries(served) > before.count("lines:2"))
        after = versions(served)
        assert 140 < after.count("lines:2") < 260
        assert {now for was, now in zip(before, after, strict=True) if was == "lines:2"} == {"lines:2"}
    with serving(project) as served:
        wait_for(lambda: canaries(served) > 0)
        assert versions(served) == after, "another server chooses otherwise"
    found = project.headrace("predictions", "lines", "--to", "all.jsonl")
    assert found.code == 0, found
    given = [json.loads(line)["input"] for line in (project.root / "all.jsonl").read_text().splitlines()]
    assert {each["customer"] for each in given} == {*customers}
    assert {each["day"] for each in given} == {"2026-11-30"}


def test_a_model_process_that_is_killed_is_started_again_and_one_that_hangs_delays_its_requests(
    project: Project,
) -> None:
    deployed(project, "release")
    with serving(project) as served:
        with served.load(pause_s=0.005):
            wait_for(lambda: served.versions)
            (process,) = served.model_processes()
            process.kill()
            killed = time.monotonic()
            wait_for(lambda: any(at > killed + 0.5 for at, _ in served.versions))
        assert {failure.split(": ")[-1] for failure in served.failures} <= {"ModelGone", "NotReady"}
        wait_for(lambda: served.get("/ready") == 200)
        served.failures.clear()
        (process,) = served.model_processes()
        process.send_signal(signal.SIGSTOP)
        with served.load():
            time.sleep(1.0)
            assert served.get("/health") == 200
            process.send_signal(signal.SIGCONT)
        assert served.failures == []
    check_logged(project, served)


def test_a_server_that_is_killed_has_logged_all_that_it_acknowledged_and_leaves_no_process(project: Project) -> None:
    deployed(project, "release")
    with serving(project) as served:
        with served.load():
            wait_for(lambda: len(served.acknowledged) > 100)
            served.process.kill()
            served.process.wait()
        check_logged(project, served)
        check(set(served.acknowledged), in_segments(project.home / "predictions"))
        project.check_no_process_is_left()
        with serving(project) as again:
            assert again.ask(1.0) == "lines:1"
            check_logged(project, served)
    assert list(project.home.glob("models-*")) == []


def test_an_endpoint_logs_as_its_settings_say_and_a_killed_server_loses_nothing(fitted: Project) -> None:
    deployed(fitted, "release --slope 2", "prepared")
    fitted.write("other.toml", '[serve]\nlog = "buffered"\n[endpoint.clean]\nlog = "off"\n')
    with serving(fitted, "--config", "other.toml") as served:
        said = served.output.read_text()
        assert "endpoint `lines` has a buffered log: a loss of power loses about the last second of it" in said
        assert "endpoint `clean` logs no predictions" in said
        status, answer = served.post({"records": [{"x": 1.0, "unit": "m"}]}, "clean")
        assert (status, answer["ids"]) == (200, None)
        with served.load():
            wait_for(lambda: len(served.acknowledged) > 100)
            served.process.kill()
            served.process.wait()
        check_logged(fitted, served)
        check(set(served.acknowledged), in_segments(fitted.home / "predictions"))


def test_a_server_that_is_told_to_end_answers_what_runs(project: Project) -> None:
    deployed(project, "release")
    with serving(project) as served:
        with served.load():
            wait_for(lambda: len(served.acknowledged) > 20)
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(60) == 0
        answered = {failure.split(":")[0] for failure in served.failures}
        assert answered <= {"no answer", "503"}, served.failures
    check_logged(project, served)


def test_a_client_needs_a_token_and_a_revoked_one_is_refused_at_once(project: Project) -> None:
    deployed(project, "release")
    token = project.headrace("tokens", "make", "test", "--endpoint", "lines", "--json").json
    with serving(project, "--tokens") as served:
        body, header = {"records": [{"x": 1.0}]}, {"authorization": f"Bearer {token['token']}"}
        assert served.post(body)[0] == 401
        assert served.post(body, **header)[0] == 200
        assert served.post(body, "other", **header)[0] == 403
        assert project.headrace("tokens", "revoke", token["id"]).code == 0
        time.sleep(SOON_S)
        assert served.post(body, **header)[0] == 401


def test_models_answer_rows_as_their_preparations_take_them_and_the_server_describes_them(fitted: Project) -> None:
    deployed(fitted, "release --slope 2", "prepared")
    with (
        serving(fitted, "clean", "lines") as served,
        urllib.request.urlopen(f"http://localhost:{served.port}/openapi.json") as answer,
    ):
        paths = json.load(answer)["paths"]
        for endpoint, fields in (("lines", {"x"}), ("clean", {"x", "unit"})):
            operation = paths[f"/v1/endpoints/{endpoint}/predict"]["post"]
            body = operation["requestBody"]["content"]["application/json"]
            record = body["schema"]["properties"]["records"]["items"]
            assert set(record["properties"]) == set(record["required"]) == set(body["example"]["records"][0]) == fields
            status, found = served.post(body["example"], endpoint)
            assert status == 200
            jsonschema.validate(found, operation["responses"]["200"]["content"]["application/json"]["schema"])
            assert operation["x-version"] == found["version"] == f"{endpoint}:1"
        assert served.get("/metrics") == served.get("/") == 200
        status, answer = served.post({"records": [{"x": 3.0, "unit": "km"}, {"x": 4.0, "unit": "mile"}]}, "clean")
        assert status == 200, answer
        first, second = answer["predictions"]
        assert first["predicted"] == pytest.approx(6.0)
        assert second["predicted"] is None  # the preparation refuses this row
        status, answer = served.post({"records": [{"x": None, "unit": "m"}]}, "clean")
        assert (status, answer["predictions"][0]["predicted"]) == (200, pytest.approx(49.0))  # the mean fills the gap
        status, answer = served.post({"records": [{"x": 3.0}]}, "clean")
        assert (status, answer["faults"][0]["field"]) == (422, "unit")


def test_what_can_not_be_served_is_told(project: Project) -> None:
    done = project.headrace("serve", "lines", "--port", "0")
    assert (done.code, "there is no endpoint `lines`" in done.err, "headrace promote" in done.err) == (2, True, True)
    deploy(project, "release")
    done = project.headrace("serve", "line", "--port", "0")
    assert (done.code, "did you mean `lines`" in done.err) == (2, True), done.err
    project.write("other.toml", '[serve]\nrate = "often"\n')
    done = project.headrace("serve", "--port", "0", "--config", "other.toml")
    assert (done.code, "in `[serve]`: `often` is not a rate" in done.err) == (2, True), done.err


def test_a_client_that_asks_more_often_than_it_may_is_refused_and_so_is_a_second_server_on_the_port(
    project: Project,
) -> None:
    deployed(project, "release")
    project.write("other.toml", '[serve]\nrate = "2/m"\n')
    with serving(project, "--config", "other.toml") as served:
        assert [served.post({"records": [{"x": 1.0}]})[0] for _ in range(3)] == [200, 429, 429]
        done = project.headrace("serve", "--port", str(served.port))
        assert (done.code, f"can't listen on port {served.port}" in done.err) == (2, True), done.err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes keys, is not installed")
def test_other_hosts_are_answered_over_tls_only(project: Project) -> None:
    deployed(project, "release")
    for words, told in (
        (("--host", "0.0.0.0"), "other hosts could reach `0.0.0.0`"),
        (("--host", "0.0.0.0", "--tokens"), "other hosts could reach `0.0.0.0`"),
        (("--tls-cert", "cert.pem"), "a certificate needs its key"),
    ):
        done = project.headrace("serve", "--port", "0", *words)
        assert (done.code, told in done.err) == (2, True), done.err
    keys = project.root.parent / "keys"
    keys.mkdir()
    certificate, key = certified(keys)
    token = project.headrace("tokens", "make", "x").out.strip()
    words = ("--host", "0.0.0.0", "--tls-cert", str(certificate), "--tls-key", str(key), "--tokens", "--port", "0")
    output = project.root / "serve.log"
    with output.open("w") as file:
        process = project.start("serve", *words, out=file, err=file)
    try:
        line = re.compile(r"serving on https://0.0.0.0:(\d+)")
        found = wait_for(lambda: line.search(output.read_text()), why=output.read_text)
        wait_for(lambda: "is loaded" in output.read_text(), why=output.read_text)
        context = ssl.create_default_context(cafile=certificate)
        with closing(http.client.HTTPSConnection("localhost", int(found[1]), context=context)) as connection:
            header = {"content-type": "application/json", "authorization": f"Bearer {token}"}
            connection.request("POST", "/v1/endpoints/lines/predict", b'{"records": [{"x": 2.0}]}', header)
            assert connection.getresponse().status == 200
        given = [word for each in psutil.Process(process.pid).children() for word in each.cmdline()]
        assert given[given.index(str(keys)) - 1] == "--tmpfs", "a model process sees no key"
    finally:
        process.terminate()
        assert process.wait(60) == 0, output.read_text()


def test_two_interrupts_end_it_though_a_model_hangs(project: Project) -> None:
    deployed(project, "release")
    with serving(project) as served, served.load(clients=1):
        wait_for(lambda: served.acknowledged)
        (process,) = served.model_processes()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        served.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert served.process.poll() is None, "it waits for the request that runs"
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(15) == 3  # and not only once the model is given up, after 20 s
    check_logged(project, served)


def test_one_interrupt_of_the_terminal_ends_it(project: Project) -> None:
    deployed(project, "release")
    with serving(project, start_new_session=True) as served:
        os.killpg(served.process.pid, signal.SIGINT)  # as ^C does: all processes of the terminal get it
        assert served.process.wait(60) == 0
        assert "Traceback" not in served.output.read_text()
