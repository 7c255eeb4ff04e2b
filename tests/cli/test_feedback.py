"""`headrace serve` keeps labels that clients send, whatever happens to the server."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet
import pytest

from headrace.backends.processes.namespace import works
from tests.cli.test_serve import PIPELINES, Served, deployed, serving
from tests.projects import Project, lent, wait_for
from tests.serve.predictions.checker import check, labels_in_segments

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


def send(port: int, labels: dict[str, float], **headers: str) -> tuple[int, dict[str, object]]:
    """Send labels by the ids of their predictions; return the status and the answer."""
    body = {"labels": [{"id": identity, "label": label} for identity, label in labels.items()], "source": "people"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        given = {"content-type": "application/json", **headers}
        connection.request("POST", "/v1/endpoints/lines/feedback", json.dumps(body).encode(), given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


class Teller:
    """Asks a server all the time, says of each answer what came of it, and keeps what the server acknowledged."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.acknowledged: dict[str, float] = {}
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(3)]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int) -> None:
        count = 0
        while not self._ends.is_set():
            count += 1
            x = number + count / 1_000
            try:
                status, answer = self.served.post({"records": [{"x": x}]})
                if status != 200:
                    continue
                (identity,) = answer["ids"]
                self.served.acknowledged[identity] = (x, answer["predictions"][0]["predicted"])
                status, answer = send(self.served.port, {identity: -x})
            except (OSError, http.client.HTTPException):
                continue
            if status == 200:
                assert answer == {"labels": 1}
                self.acknowledged[identity] = -x

    def end(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


def labelled(project: Project) -> Counter[tuple[str, float]]:
    """Return how often each prediction with a label is in what the command writes."""
    done = project.headrace("predictions", "lines", "--labels", "--to", "all.parquet")
    assert done.code == 0, done
    table = pyarrow.parquet.read_table(project.root / "all.parquet").select(["id", "label"])
    (project.root / "all.parquet").unlink()
    return Counter((row["id"], row["label"]) for row in table.to_pylist() if row["label"] is not None)


def test_a_server_that_is_killed_has_kept_each_label_that_it_acknowledged_once(project: Project) -> None:
    deployed(project, "release")
    with serving(project) as served:
        teller = Teller(served)
        try:
            wait_for(lambda: len(teller.acknowledged) > 100)
            served.process.kill()
            served.process.wait()
        finally:
            teller.end()
    check({*teller.acknowledged}, labels_in_segments(project.home / "predictions"))
    with serving(project) as again:
        assert again.ask(1.0) == "lines:1"
        late = next(iter(teller.acknowledged))
        assert send(again.port, {late: 7.0}) == (200, {"labels": 1})  # a correction, through another process
    found = labelled(project)
    assert set(found.values()) == {1}
    expected = {**teller.acknowledged, late: 7.0}
    assert {identity: label for identity, label in found if identity in expected} == expected
    (people,) = project.headrace("labels", "lines", "--json").json["sources"]
    assert (people["corrected"], people["unknown"]) == (1, 0)
    assert people["counting"] == len(found)


def test_a_token_may_be_for_feedback_only(project: Project) -> None:
    deployed(project, "release")
    made = [
        project.headrace("tokens", "make", "test", *words, "--json").json["token"]
        for words in (("--scope", "feedback"), ("--scope", "predict"), ())
    ]
    teller, asker, both = ({"authorization": f"Bearer {token}"} for token in made)
    label = {"0a1b2c3d4e5f-1-0-00000000000000ff": 1.0}
    with serving(project, "--tokens") as served:
        record = {"records": [{"x": 1.0}]}
        statuses = [
            (served.post(record, **each)[0], send(served.port, label, **each)[0]) for each in (teller, asker, both)
        ]
        assert statuses == [(403, 200), (200, 403), (200, 200)]
        assert send(served.port, label)[0] == 401
