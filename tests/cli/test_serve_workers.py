"""`headrace serve --workers` on the real command: web workers answer as one server, whatever happens to one of them."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.backends.processes.namespace import works
from tests.cli.test_serve import PIPELINES, Served, check_logged, deployed, serving
from tests.projects import Project, lent, wait_for
from tests.serve.predictions.checker import check, in_segments

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")

SAMPLE = re.compile(r"^(headrace_\w+)\{(.*)\} ([-+.e0-9]+)$", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


@contextmanager
def two(project: Project, *words: str, versions: int = 1, **more: Any) -> Iterator[Served]:
    """Run a server with two web workers, until both have loaded so many versions."""
    with serving(project, "--workers", "2", *words, **more) as served:
        wait_for(lambda: loaded(served) == 2 * versions, why=served.output.read_text)
        yield served


def loaded(served: Served) -> int:
    return served.output.read_text().count("is loaded")


def workers(served: Served) -> list[psutil.Process]:
    """Return the web workers, the oldest first."""
    return sorted(psutil.Process(served.process.pid).children(), key=lambda each: each.pid)


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def writers(served: Served) -> set[str]:
    """Return the writers of the log that the acknowledged ids name: there is one in each worker."""
    return {each.split("-")[0] for each in list(served.acknowledged)}


def measured(served: Served, name: str, **about: str) -> Counter[str]:
    """Return a metric's sums by worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics") as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for sample in SAMPLE.finditer(text):
        labels = dict(re.findall(r'(\w+)="(.*?)"', sample[2]))
        if sample[1] == name and about.items() <= labels.items():
            found[labels["worker"]] += float(sample[3])  # type: ignore[assignment]
    return found


def test_two_web_workers_answer_as_one_server(project: Project) -> None:
    deployed(project, "sticky", "sticky --slope 2 --share 0.5")
    records = [{"x": 1.0, "customer": f"customer {number}", "day": "2026-11-30"} for number in range(60)]
    with two(project, versions=2) as served:
        first, second = workers(served)
        assert len(served.model_processes()) == 4
        found: list[dict[str, Any]] = []
        for idle in (first, second):
            with stopped(idle):
                status, answer = served.post({"records": records})
                assert status == 200, answer
                found.append(answer)
        one, other = found
        assert len({each["ids"][0].split("-")[0] for each in found}) == 2, "the same worker answered twice"
        assert set(one["versions"]) == {"lines:1", "lines:2"}
        assert one["versions"] == other["versions"], "the workers choose different versions"
        for _ in range(20):
            assert served.post({"records": records[:1]})[0] == 200
        counted = measured(served, "headrace_requests_total", endpoint="lines", status="200")
        assert set(counted) == {"1", "2"}
        assert sum(counted.values()) == 22
        assert sum(measured(served, "headrace_predictions_total").values()) == 2 * len(records) + 20


def test_a_web_worker_that_is_killed_or_stopped_loses_nothing_and_the_other_goes_on(project: Project) -> None:
    deployed(project, "release")
    with two(project) as served:
        with served.load():
            wait_for(lambda: len(writers(served)) == 2, why=lambda: "one worker answers nothing")
            first, _ = workers(served)
            count = len(served.acknowledged)
            first.kill()
            wait_for(lambda: len(served.acknowledged) > count + 100)
            wait_for(lambda: len(writers(served)) == 3, why=served.output.read_text)
        assert {each.split(":")[0] for each in served.failures} <= {"no answer"}, served.failures
        assert "web worker 1 was ended by SIGKILL; it is started again in 1 s" in served.output.read_text()
        assert measured(served, "headrace_worker_restarts_total") == {"1": 1, "2": 0}
        assert measured(served, "headrace_worker_up") == {"1": 1, "2": 1}
        for process in workers(served):
            with stopped(process):
                assert [served.ask(1.0) for _ in range(10)] == ["lines:1"] * 10
                assert sorted(measured(served, "headrace_worker_up").values()) == [0, 1]
                assert len(measured(served, "headrace_requests_total")) == 1, "a worker that is silent is left out"
        with served.load():
            count = len(served.acknowledged)
            wait_for(lambda: len(served.acknowledged) > count + 20)
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(60) == 0
        assert {each.split(":")[0] for each in served.failures} <= {"no answer", "503"}, served.failures
    project.check_no_process_is_left()
    check(set(served.acknowledged), in_segments(project.home / "predictions"))
    check_logged(project, served)


def test_when_the_front_is_killed_nothing_is_left_over(project: Project) -> None:
    deployed(project, "release")
    with two(project) as served:
        with served.load():
            wait_for(lambda: len(writers(served)) == 2)
            served.process.kill()
            served.process.wait()
        check_logged(project, served)
        project.check_no_process_is_left()
    with two(project) as again:
        assert again.ask(1.0) == "lines:1"
    assert list(project.home.glob("models-*")) == []


def test_a_rate_holds_for_all_web_workers_together_and_one_interrupt_of_the_terminal_ends_them(
    project: Project,
) -> None:
    deployed(project, "release")
    project.write("other.toml", '[serve]\nrate = "1/m"\n')
    with two(project, "--config", "other.toml", start_new_session=True) as served:
        first, second = workers(served)
        with stopped(first):
            assert [served.post({"records": [{"x": 1.0}]})[0] for _ in range(2)] == [200, 429]
        with stopped(second):
            assert served.post({"records": [{"x": 1.0}]})[0] == 429
        os.killpg(served.process.pid, signal.SIGINT)  # as ^C does: all processes of the terminal get it
        assert served.process.wait(60) == 0
        told = served.output.read_text()
        assert ("Traceback" in told, "left without waiting" in told) == (False, False), told
