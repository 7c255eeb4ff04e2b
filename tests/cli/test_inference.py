"""`headrace serve` speaks the Open Inference Protocol: a deployed model answers tritonclient and curl as it answers
records."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.backends.processes.namespace import works
from tests.cli.test_serve import FITTED, PIPELINES, Served, deployed, logged, serving
from tests.projects import Project, lent, wait_for

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
triton = pytest.importorskip(
    "tritonclient.http", reason="tritonclient, which asks here, is not installed: pip install 'tritonclient[http]'"
)
np = pytest.importorskip("numpy", reason="numpy, by which tritonclient takes values, is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


def ask(served: Served, values: list[float], **more: Any) -> Any:
    x = triton.InferInput("x", [len(values), 1], "FP64")
    x.set_data_from_numpy(np.array(values).reshape(-1, 1))
    with triton.InferenceServerClient(f"localhost:{served.port}") as client:
        return client.infer("lines", [x], **more)


def test_tritonclient_gets_what_records_get_and_it_is_logged(project: Project) -> None:
    project.write("pipelines.py", FITTED)
    deployed(project, "release --slope 2")
    with serving(project) as served:
        result = ask(served, [1.5, 4.0, 1 / 3])
        ids = [each.decode() for each in result.as_numpy("id")]
        status, answer = served.post({"records": [{"x": 1.5}, {"x": 4.0}, {"x": 1 / 3}]})
        assert status == 200
        assert result.as_numpy("predicted").tolist() == [each["predicted"] for each in answer["predictions"]]
        found = logged(project)
        assert [found[each] for each in ids] == [found[each] for each in answer["ids"]]
        with triton.InferenceServerClient(f"localhost:{served.port}") as client:
            assert client.is_model_ready("lines", "1")
            assert client.get_model_metadata("lines") == {
                "name": "lines",
                "versions": ["1"],
                "platform": "headrace",
                "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1]}],
                "outputs": [
                    {"name": "predicted", "datatype": "FP64", "shape": [-1]},
                    {"name": "id", "datatype": "BYTES", "shape": [-1]},
                ],
            }


def test_a_client_may_choose_among_the_versions_of_the_route(project: Project) -> None:
    deployed(project, "release", "trial --slope 3 --share 0.0")
    with serving(project) as served:
        wait_for(lambda: served.get("/v2/models/lines/versions/2/ready") == 200)
        for version, slope in (("1", 1.0), ("2", 3.0), ("", 1.0)):
            result = ask(served, [2.0], model_version=version)
            assert result.as_numpy("predicted").tolist() == pytest.approx([2.0 * slope])
            assert result.get_response()["model_version"] == (version or "1")
        with pytest.raises(triton.InferenceServerException, match="ask for `1` or `2`"):
            ask(served, [2.0], model_version="3")


def test_a_model_takes_tensors_as_its_preparation_takes_them(project: Project) -> None:
    project.write("pipelines.py", FITTED)
    deployed(project, "release --slope 2", "prepared")
    with serving(project, "clean") as served, triton.InferenceServerClient(f"localhost:{served.port}") as client:
        x, unit = triton.InferInput("x", [3], "FP32"), triton.InferInput("unit", [3], "BYTES")
        x.set_data_from_numpy(np.array([3.0, 4.0, np.nan], dtype=np.float32))
        unit.set_data_from_numpy(np.array(["km", "mile", "m"], dtype=np.object_))
        found = client.infer("clean", [unit, x]).as_numpy("predicted")
        assert found[0] == pytest.approx(6.0)
        assert np.isnan(found[1])  # the preparation refuses this row
        assert found[2] == pytest.approx(49.0)  # the mean fills the gap


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_predictions(project: Project) -> None:
    deployed(project, "release --slope 2")
    with serving(project) as served:

        def curl(path: str, *words: str) -> Any:
            url = f"http://localhost:{served.port}/v2{path}"
            done = subprocess.run(["curl", "-sS", url, *words], capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        header = ("-H", "content-type: application/json", "-d")
        given = {"name": "x", "shape": [2], "datatype": "FP64", "data": [60, 75.5]}
        answer = curl("/models/lines/infer", *header, json.dumps({"id": "7", "inputs": [given]}))
        predicted, ids = answer["outputs"]
        assert (answer["id"], predicted["name"], predicted["data"]) == ("7", "predicted", pytest.approx([120, 151]))
        assert set(ids["data"]) == set(logged(project))
        assert curl("/health/ready") == {"ready": True}
        given["shape"] = [3]
        assert curl("/models/lines/infer", *header, json.dumps({"inputs": [given]})) == {
            "error": "the tensors don't fit the model: `x`: its shape is [3], and its data has 2 values"
        }
