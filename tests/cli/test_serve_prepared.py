"""`headrace serve` with a function of the project that prepares the rows, on the real command."""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.backends.processes.namespace import works
from headrace.models.streams import stream_of
from tests.cli.test_serve import Served, deploy, deployed, serving
from tests.projects import Project, lent, wait_for
from tests.wheels import only, wheel

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, of which a model is served here, is not installed")

DATA = """
import pyarrow as pa

import headrace as hr
from features import to_features
from headrace.stages import deploy


@hr.stage(kind="ingest")
def planes() -> pa.Table:
    return pa.table({"tailnum": ["N1", "N2", "N3"], "seats": [100.0, 150.0, 300.0]})


@hr.stage(kind="ingest")
def flights() -> pa.Table:
    return pa.table({"tailnum": ["N1", "N2", "N3", "N1"], "hour": [1, 2, 3, 4]})
"""
PIPELINES = f"""{DATA}
from answers import late


@hr.stage(kind="train")
def fit() -> dict:
    return {{"per_hour": 2.0}}


@hr.pipeline
def release() -> None:
    known = planes()
    deploy.endpoint(
        fit(), "delays", prepare=to_features, predict=late, given={{"planes": known}}, signature=flights()
    )


@hr.pipeline
def compared() -> None:
    rows = flights()
    deploy.endpoint(
        fit(), "delays", prepare=to_features, predict=late, given={{"planes": planes()}}, signature=rows, sample=rows
    )
"""
ANSWERS = """
import pyarrow as pa
import pyarrow.compute as pc


def late(model: dict, rows: pa.Table) -> pa.Table:
    return pa.table({"predicted": pc.add(rows["seats"], pc.multiply(rows["hour"], model["per_hour"]))})
"""
FITTED = f"""{DATA}
from headrace.stages import train
from sklearn.linear_model import LinearRegression


@hr.stage(kind="prepare")
def features(flights: pa.Table, planes: pa.Table) -> pa.Table:
    table = to_features(flights, planes)
    return table.append_column("late", pa.array([102.0, 154.0, 306.0, 108.0]))  # seats + 2 * hour


@hr.pipeline
def release() -> None:
    known, rows = planes(), flights()
    fitted = train.sklearn(LinearRegression(), features(rows, known), target="late")
    deploy.endpoint(fitted, "delays", prepare=to_features, given={{"planes": known}}, signature=rows, sample=rows)
"""
FEATURES = """
import pyarrow as pa
import pyarrow.compute as pc


def to_features(rows: pa.Table, planes: pa.Table) -> pa.Table:
    print("a secret in what it prints")
    place = pc.index_in(rows["tailnum"], planes["tailnum"])
    return pa.table({"seats": planes["seats"].take(place), "hour": rows["hour"]})
"""
ROW = {"tailnum": "N2", "hour": 5}


LOOKS = """
import os, pathlib, socket


def trouble(act):
    try:
        return str(act())
    except OSError as error:
        return type(error).__name__


def look(root):
    return [
        trouble(lambda: pathlib.Path(root, "secret.txt").read_text()),
        trouble(lambda: sorted(os.listdir(root))),
        trouble(lambda: socket.create_connection(("192.0.2.1", 80), 1)),
        trouble(lambda: pathlib.Path(__file__).write_text("changed")),
        str("AWS_SECRET_ACCESS_KEY" in os.environ),
    ]
"""


@contextmanager
def made(folder: Path) -> Iterator[Project]:
    with lent(folder / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.environment["HEADRACE_CACHE"] = str(folder / "cache")
        project.write("pipelines.py", PIPELINES)
        project.write("answers.py", ANSWERS)
        project.write("features.py", FEATURES)
        yield project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with made(tmp_path) as project:
        yield project


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose function divides by zero at 24 hours, looks around at 99, and ends its process at 66."""
    with made(tmp_path_factory.mktemp("troubled")) as project:
        project.write("secret.txt", "a secret")
        project.environment["AWS_SECRET_ACCESS_KEY"] = "a secret"
        acts = (
            'hours = rows["hour"].to_pylist()',
            "24 not in hours or 1 / 0",
            "66 in hours and os.abort()",
            f"if 99 in hours: raise ValueError(look({str(project.root)!r}))",
        )
        project.write("features.py", beginning("\n    ".join(acts)) + LOOKS)
        project.write("other.toml", '[endpoint.delays]\ndrop = ["tailnum"]\n')
        deploy(project, "release")
        with serving(project, "--config", "other.toml") as served:
            yield served


def ask(served: Served, *records: dict[str, Any]) -> tuple[int, Any]:
    return served.post({"records": list(records)}, "delays")


def predicted(served: Served, *records: dict[str, Any]) -> list[float]:
    status, answer = ask(served, *records)
    assert status == 200, answer
    return [each["predicted"] for each in answer["predictions"]]


def beginning(statement: str) -> str:
    """Return the module of features, whose function begins with a statement."""
    return FEATURES.replace("    print", f"    {statement}\n    print")


def versions(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.headrace("models", "delays", "--json").json["models"]
    return found


def test_a_function_that_prepares_a_row_by_other_rows_is_told_before_it_is_served(project: Project) -> None:
    project.write("features.py", beginning('rows = rows.set_column(1, "hour", pc.add(rows["hour"], len(rows)))'))
    failed = project.headrace("run", "compared", "--json")
    told = "two answers for row 0 of the sample differ: `predicted` is "
    assert (failed.code, told in failed.task["deploy_endpoint"]["reason"]) == (1, True), failed
    project.write("features.py", FEATURES)
    deploy(project, "compared")
    assert len(versions(project)) == 1


def test_clients_send_their_own_rows_and_the_function_makes_those_of_the_model(project: Project) -> None:
    project.write("pipelines.py", FITTED)
    deployed(project, "release")
    with serving(project) as served:
        assert predicted(served, ROW, {"tailnum": "N3", "hour": 1}) == pytest.approx([160.0, 302.0])
        status, refused = ask(served, {"seats": 150.0, "hour": 5})
        assert status == 422
        assert {(each["field"], each["what"]) for each in refused["faults"]} == {
            ("tailnum", "it is missing"),
            ("seats", "the model takes no such field"),
        }
        assert project.headrace("predictions", "delays", "--to", "all.jsonl").code == 0
        first, *_ = (project.root / "all.jsonl").read_text().splitlines()
        assert json.loads(first)["input"] == ROW, "the log has the client's rows"
        rows = pa.table({"hour": pa.array([5, 1], pa.int32()), "more": [0, 0], "tailnum": ["N2", "N3"]})
        dictionary = rows.set_column(2, "tailnum", rows["tailnum"].dictionary_encode())
        for stream in (stream_of(rows), stream_of(dictionary)):
            header = {"content-type": "application/vnd.apache.arrow.stream"}
            status, answer = served.post(stream, "delays", **header)
            assert status == 200, answer
            with pa.ipc.open_stream(answer) as answers:
                assert answers.read_all()["predicted"].to_pylist() == pytest.approx([160.0, 302.0])
        assert "secret" not in served.output.read_text()


def test_rows_that_the_function_can_not_take_fail_alone_and_say_where(troubled: Served) -> None:
    status, refused = ask(troubled, {"tailnum": "N1", "hour": 24})
    told = "`to_features` failed for these rows: ZeroDivisionError: division by zero (features.py:8)"
    assert (status, refused["message"]) == (422, told)
    assert predicted(troubled, ROW) == pytest.approx([160.0])
    (process,) = troubled.model_processes()
    assert process.is_running()


def test_a_function_sees_nothing_of_the_project_but_its_code_and_reaches_no_network(troubled: Served) -> None:
    told = ask(troubled, {"tailnum": "N1", "hour": 99})[1]["message"]
    assert "['FileNotFoundError', \"['.headrace']\", 'OSError', 'OSError', 'False']" in told
    assert predicted(troubled, ROW) == pytest.approx([160.0])


def test_a_row_that_crashes_the_model_is_named_without_dropped_columns(troubled: Served) -> None:
    wait_for(lambda: ask(troubled, ROW)[0] == 200)
    assert ask(troubled, {"tailnum": "N1", "hour": 66})[0] == 503
    told = re.compile("version 1 of endpoint `delays` was answering this request when its process ended: (.*)")
    shown = wait_for(lambda: told.search(troubled.output.read_text()))[1]
    assert shown.endswith('Z, 1 row: {"hour":66}')
    assert "N1" not in troubled.output.read_text()


def test_another_function_is_another_version_and_other_code_is_not(project: Project) -> None:
    deployed(project, "release")
    (first,) = versions(project)
    assert first["preparation"] == "features.to_features"
    project.write("pipelines.py", PIPELINES.replace("known = ", "found = known = "))
    project.write("README.md", "another file of the bundle")
    deploy(project, "release")
    assert versions(project) == [first]
    project.write("features.py", FEATURES.replace('rows["hour"]}', 'pc.multiply(rows["hour"], 1)}'))
    with serving(project) as served:
        assert ask(served, ROW)[1]["version"] == "delays:1"
        deploy(project, "release")
        wait_for(lambda: ask(served, ROW)[1]["version"] == "delays:2")
        assert project.headrace("rollback", "delays").code == 0
        wait_for(lambda: ask(served, ROW)[1]["version"] == "delays:1")
    newest, oldest = versions(project)
    assert (newest["version"], newest["digest"]) == (2, oldest["digest"]), "the model itself is the same"


def test_it_answers_by_the_code_of_its_run_wherever_it_goes(project: Project, tmp_path: Path) -> None:
    deployed(project, "release")
    project.write("features.py", "raise SystemExit")
    with serving(project) as served:
        assert predicted(served, ROW) == pytest.approx([160.0])
    for command in ("gc", "fsck --deep", "ledger export away.headrace"):
        done = project.headrace(*command.split())
        assert done.code == 0, done
    with lent(tmp_path / "other") as other:
        shutil.move(project.root / "away.headrace", other.root)
        done = other.headrace("ledger", "import", "away.headrace")
        assert done.code == 0, done
        with serving(other) as served:
            assert predicted(served, ROW) == pytest.approx([160.0])
        card = other.headrace("card", "model:delays").out
        assert "features.to_features" in card
        _, _, sent = card.partition("What clients send for each row")
        assert ("tailnum" in sent, "seats" in sent) == (True, False), "others than these would be refused"


def refused(project: Project, told: str, **environment: str) -> str:
    """Run a server that can't start a version; return the first line of its output that has a text."""
    output = project.root / "refused.log"
    with output.open("w") as file:
        process = project.start("serve", "--port", "0", out=file, err=file, also=environment)
    try:
        wait_for(lambda: told in output.read_text(), why=output.read_text)
    finally:
        process.kill()
        process.wait()
    return next(line for line in output.read_text().splitlines() if told in line)


def test_a_version_whose_code_lacks_a_package_here_is_not_started_and_one_sentence_says_why(project: Project) -> None:
    file = str(project.root / "headrace.toml")
    project.write("features.py", f"import os\nif not os.path.exists({file!r}):\n    import lone\n{FEATURES}")
    deploy(project, "release")
    line = refused(project, "can't be started")
    told = (
        "version 1 of endpoint `delays` can't be started: can't import `features`: ModuleNotFoundError: No module named"
    )
    assert f"{told} 'lone' (features.py:3)" in line


LOCKED = """
import lone
import pyarrow as pa

import headrace as hr
from headrace.stages import deploy


def ask(model: dict, rows: pa.Table) -> pa.Table:
    return pa.table({"predicted": [f"{model['word']} {lone.VERSION}"] * len(rows)})


@hr.stage(kind="train")
def fit() -> dict:
    return {"word": "lone"}


@hr.pipeline
def release() -> None:
    deploy.endpoint(fit(), "delays", predict=ask, signature=pa.table({"hour": [1]}))
"""


def test_a_version_answers_in_the_environment_that_the_lock_of_its_run_describes(
    project: Project, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    installed = sysconfig.get_path("purelib")  # it has NumPy and more, but nothing called `lone`
    project.environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), installed])
    project.write("pipelines.py", LOCKED)
    project.write("requirements.txt", f"{only(wheels)}{wheel(wheels, 'lone', '2.0')}\n")
    deploy(project, "release")
    project.write("requirements.txt", f"{only(wheels)}{wheel(wheels, 'lone', '3.0')}\n")
    with serving(project) as served:
        status, answer = ask(served, {"hour": 5})
        assert (status, answer["predictions"]) == (200, [{"predicted": "lone 2.0"}])
    shutil.rmtree(wheels)
    line = refused(project, "can't be started", HEADRACE_CACHE=str(tmp_path / "elsewhere"))
    assert "version 1 of endpoint `delays` can't be started: " in line
    assert "an environment can't be built from `requirements.txt`" in line


def test_commands_name_the_function_and_run_it_never(project: Project) -> None:
    deployed(project, "release")
    assert "features.to_features" in project.headrace("models", "delays").out
    assert project.headrace("get", "model:delays", "preparation.planes", "--to", "planes.csv").code == 0
    assert (project.root / "planes.csv").read_text().splitlines()[1].split(",") == ['"N1"', "100"]
    project.write("rows.json", json.dumps([ROW]))
    done = project.headrace("predict", "delays", "--rows", "rows.json")
    assert (done.code, "needs the project's function `features.to_features` to answer" in done.err) == (2, True), done


WRONG = """
import pyarrow as pa

import headrace as hr
from headrace.stages import deploy

X = pa.table({"x": [1.0]})


def to_x(rows: pa.Table, more: pa.Table) -> pa.Table:
    return rows


class Mine:
    pass


@hr.stage
def made() -> pa.Table:
    return X


@hr.stage
def mine() -> Mine:
    return Mine()


@hr.pipeline
def a_lambda() -> None:
    deploy.endpoint({}, "x", prepare=lambda rows: rows, signature=X)


@hr.pipeline
def a_stage() -> None:
    deploy.endpoint({}, "x", prepare=made, signature=X)


@hr.pipeline
def no_signature() -> None:
    deploy.endpoint({}, "x", prepare=to_x, given={"more": X})


@hr.pipeline
def nothing_given() -> None:
    deploy.endpoint({}, "x", prepare=to_x, signature=X)


@hr.pipeline
def only_given() -> None:
    deploy.endpoint({}, "x", given={"more": X}, signature=X)


@hr.pipeline
def other_name() -> None:
    deploy.endpoint({}, "x", prepare=to_x, given={"other": made()}, signature=X)


@hr.pipeline
def unsafe() -> None:
    deploy.endpoint({}, "x", prepare=to_x, given={"more": mine()}, signature=X)


@hr.pipeline
def too_many() -> None:
    deploy.endpoint({}, "x", predict=to_x, preparation=made(), signature=X)
"""


@pytest.mark.parametrize(
    ("pipeline", "code", "told"),
    [
        ("a_lambda", 2, "`prepare`"),
        ("a_stage", 2, "`prepare`"),
        ("no_signature", 2, "`to_x` needs `signature`"),
        ("nothing_given", 2, "`to_x` can't be called with the rows and `given`: missing a required argument: 'more'"),
        ("only_given", 2, "`given` has values for the function `prepare`, but `prepare` isn't given"),
        ("too_many", 2, "a version that has `prepare` or `predict` can't have `preparation` too"),
        ("other_name", 1, "`to_x` can't be called with the rows and `given`: missing a required argument: 'more'"),
        ("unsafe", 1, "`given` has a `pipelines.Mine`, which is saved in a form that runs code when it is read"),
    ],
)
def test_what_does_not_fit_together_is_told(project: Project, pipeline: str, code: int, told: str) -> None:
    project.write("pipelines.py", WRONG)
    done = project.headrace("run", pipeline)
    assert (done.code, told in done.err) == (code, True), done.err
