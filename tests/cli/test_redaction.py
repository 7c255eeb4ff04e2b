"""`headrace serve` with the settings `drop` and `hash`: what they name is in no file, and people are still found by
their key."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from headrace.backends.processes.namespace import works
from headrace.errors import ConfigError
from headrace.inspect.endpoints import redaction
from headrace.inspect.endpoints.marks import of_other_secrets
from headrace.inspect.views import read
from headrace.models.streams import stream_of
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.project import project as projects
from headrace.serve.predictions.redaction import Hasher
from headrace.spec.endpoint import sole
from headrace.spec.signature import Column
from tests.cli.test_serve import Served, deploy, deployed, serving
from tests.cli.test_serve_workers import two
from tests.operate.test_erase import ANNA, files_with
from tests.projects import Project, lent, wait_for

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")

SECRET = "5f0c1b2a3d4e5f60718293a4b5c6d7e8"
INCOME = 98765.4321
PIPELINES = """
import pyarrow as pa

import headrace as hr
from headrace.stages import deploy, ingest

ROW = pa.table({"x": [1.0], "income": [1.0]})


def same(model: dict, rows: pa.Table) -> pa.Table:
    return rows.select(["x"]).rename_columns(["predicted"])


@hr.stage(kind="train")
def fit() -> dict:
    return {}


@hr.pipeline
def release() -> None:
    deploy.endpoint(fit(), "lines", predict=same, signature=ROW, key="customer", time="day")


@hr.stage(kind="ingest", cache=False)
def bills() -> pa.Table:
    return pa.table({"customer": ["-".join(["anna", "7f3a9c"])], "day": ["2026-01-31"], "paid": [7.5]})


@hr.pipeline
def pay() -> None:
    ingest.feedback(bills(), "lines", key="customer", time="day", label="paid")
"""
SETTINGS = """
[project]
pipelines = ["pipelines.py"]
[serve]
hash_secret = "LOG_SECRET"
[endpoint.lines]
drop = ["income"]
hash = ["customer"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        deployed(project, "release")
        project.write("headrace.toml", SETTINGS)
        project.environment["LOG_SECRET"] = SECRET
        yield project


def infer(served: Served, columns: dict[str, list[object]]) -> None:
    kinds = {"x": "FP64", "income": "FP64"}
    inputs = [
        {"name": name, "shape": [len(values)], "datatype": kinds.get(name, "BYTES"), "data": values}
        for name, values in columns.items()
    ]
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        body = json.dumps({"inputs": inputs})
        connection.request("POST", "/v2/models/lines/infer", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()


def ask_in_all_forms(served: Served, *customers: str) -> None:
    """Ask about these customers three times: by JSON, by Arrow and by tensors."""
    columns: dict[str, list[object]] = {
        "x": [float(number) for number in range(len(customers))],
        "income": [INCOME] * len(customers),
        "customer": [*customers],
        "day": ["2026-01-31"] * len(customers),
    }
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    assert served.post({"records": records})[0] == 200
    stream = stream_of(pa.table(columns))
    assert served.post(stream, **{"content-type": "application/vnd.apache.arrow.stream"})[0] == 200
    infer(served, columns)


def files_that_show(folder: Path) -> list[str]:
    """Return the files below a folder that have the customer, the income as a text or as a number, or the secret."""
    number = struct.pack("<d", INCOME)
    as_number = [str(path) for path in folder.rglob("*") if path.is_file() and number in path.read_bytes()]
    return [*files_with(folder, ANNA), *files_with(folder, "98765.4321"), *files_with(folder, SECRET), *as_number]


def projects_of(project: Project) -> projects.Project:
    with chdir(project.root):
        return projects.load()


def hidden(customer: str, secret: str = SECRET) -> str:
    return f"{Hasher(secret).hashed(customer)}"


def inputs(project: Project) -> list[dict[str, object]]:
    return [each["input"] for each in project.headrace("predictions", "lines", "--json").json["predictions"]]


def test_what_is_dropped_or_hashed_is_in_no_file_and_a_person_is_still_labelled_and_erased(
    project: Project, tmp_path: Path
) -> None:
    with two(project) as served:
        ask_in_all_forms(served, "bob", ANNA)
        assert files_that_show(tmp_path) == []
        control = project.write("control", f"{ANNA} 98765.4321 {SECRET}")
        assert len(files_that_show(tmp_path)) == 3
        control.write_bytes(stream_of(pa.table({"income": [INCOME]})))
        assert len(files_that_show(tmp_path)) == 1
        control.unlink()
        said = served.output.read_text()
        assert "the log of endpoint `lines` drops `income`" in said
        assert "the log of endpoint `lines` hashes `customer`" in said
        server = psutil.Process(served.process.pid)
        for each in (server, *server.children(recursive=True)):
            assert SECRET not in " ".join(each.cmdline())
        assert served.model_processes()
        assert all("LOG_SECRET" not in each.environ() for each in served.model_processes())
    assert seal_predictions(projects_of(project)) == 6
    assert project.headrace("predictions", "lines", "--to", "log.arrow").code == 0
    assert project.headrace("predictions", "lines", "--to", "log.csv").code == 0
    assert project.headrace("ledger", "export", "all.headrace").code == 0
    assert project.headrace("backup", str(tmp_path / "backup")).code == 0
    assert files_that_show(tmp_path) == []
    expected = {"day": "2026-01-31", "x": 0.0, "customer": hidden("bob")}
    found = inputs(project)
    for each in (expected, {**expected, "x": 1.0, "customer": hidden(ANNA)}):
        assert found.count(each) == 3, found
    (listed,) = project.headrace("endpoints", "--json").json["endpoints"]
    assert (listed["drop"], listed["hash"], SECRET in json.dumps(listed)) == (["income"], ["customer"], False)
    assert "drops `income`, hashes `customer`" in project.headrace("endpoints").out

    deploy(project, "pay")
    rows = project.headrace("predictions", "lines", "--labels", "--json").json["predictions"]
    assert [(row["input"]["customer"], row["label"]) for row in rows if row["label"] is not None] == [
        (hidden(ANNA), 7.5)
    ]
    project.environment.pop("LOG_SECRET")
    for words in (("labels", "lines"), ("predictions", "lines", "--labels"), ("erase", "lines", ANNA, "--why", "x")):
        done = project.headrace(*words)
        assert (done.code, "that `[serve] hash_secret` names isn't set" in done.err) == (2, True), done
    project.environment["LOG_SECRET"] = f"{SECRET} (the next one)"
    unread = ["6 predictions with values that were hashed with another secret: erase again with that one"]
    told = project.headrace("erase", "lines", ANNA, "--why", "she asked", "--json").json
    assert (told["predictions"], told["labels"], told["unread"]) == (0, 1, unread)
    (told,) = project.headrace("erase", "--resume", "--json").json["erasures"]
    assert (told["predictions"], told["unread"]) == (0, unread)
    project.environment["LOG_SECRET"] = SECRET
    done = project.headrace("erase", "lines", ANNA, "--why", "she asked", "--json")
    assert (done.code, done.json["predictions"], done.json["unread"]) == (0, 3, []), done
    assert [each["customer"] for each in inputs(project)] == [hidden("bob")] * 3
    assert files_with(project.home, ANNA) == files_with(project.home, hidden(ANNA)) == []
    assert project.headrace("fsck", "--deep").code == 0


def test_another_secret_is_told_when_a_server_starts_and_by_erasures_of_tables_and_labels(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = "\n\n@hr.stage\ndef kept(rows: pa.Table) -> pa.Table:\n    return rows.slice(1)\n\n\n"
    watch += '@hr.pipeline\ndef watch() -> None:\n    kept(ingest.predictions("lines"))\n'
    bob = PIPELINES.replace('"-".join(["anna", "7f3a9c"])', f'"{hidden("bob")}"')
    project.write("pipelines.py", bob + watch)
    with serving(project) as served:
        ask_in_all_forms(served, "bob", ANNA)
    assert seal_predictions(projects_of(project)) == 6
    for pipeline in ("watch", "pay"):
        deploy(project, pipeline)
    told = project.headrace("erase", "lines", ANNA, "--dry-run", "--why", "x", "--json").json
    assert (told["predictions"], told["unread"]) == (3, [])
    monkeypatch.setenv("LOG_SECRET", SECRET)
    with read(projects_of(project)) as views:
        assert list(of_other_secrets(projects_of(project), views, ["lines"])) == []
    project.environment["LOG_SECRET"] = f"{SECRET} (the next one)"
    warning = "endpoint `lines` in the log were hashed with another secret"
    with serving(project) as served:
        wait_for(lambda: warning in served.output.read_text())
    told = project.headrace("erase", "lines", ANNA, "--why", "she asked", "--json").json
    otherwise = "with values that were hashed with another secret: erase again with that one"
    assert (told["predictions"], told["tables"]) == (0, [])
    assert told["unread"][:2] == [f"6 predictions {otherwise}", f"1 label {otherwise}"]
    tables = [each for each in told["unread"] if each.endswith(f": 5 rows {otherwise}")]
    assert any("task `kept` of run" in each for each in tables), told["unread"]
    (again,) = project.headrace("erase", "--resume", "--json").json["erasures"]
    assert again["unread"] == told["unread"]


def test_a_person_is_left_out_of_what_a_server_has_not_sealed_yet(project: Project) -> None:
    with serving(project) as served:
        ask_in_all_forms(served, "bob", ANNA)
        told = project.headrace("erase", "lines", ANNA, "--why", "she asked", "--no-wait", "--json").json
        assert told["unsealed"] == 3
    project.environment.pop("LOG_SECRET")
    assert seal_predictions(projects_of(project)) == 3
    assert [each["customer"] for each in inputs(project)] == [hidden("bob")] * 3
    assert project.headrace("erase", "--resume").code == 0
    assert files_with(project.home, hidden(ANNA)) == []


@pytest.mark.parametrize(
    ("settings", "secret", "told"),
    [
        ("", None, "that `[serve] hash_secret` names isn't set"),
        ("", "too short", "has fewer than 16 characters"),
        ('drop = ["incone"]', SECRET, "did you mean `income`?"),
        ('hash = ["custmer"]', SECRET, "`hash` in `[endpoint.lines]` names `custmer`, and no record has such a column"),
        ('drop = ["customer"]\nhash = []', SECRET, "drops `customer`, its `key` column"),
        ('drop = ["day"]', SECRET, "drops `day`, its `time` column"),
        ('hash = ["day"]', SECRET, "hashes `day`, its `time` column"),
        ('drop = ["x"]\nhash = ["x"]', SECRET, "`drop` and `hash` both name `x`"),
    ],
)
def test_a_server_whose_log_can_not_be_as_the_settings_say_does_not_start(
    project: Project, settings: str, secret: str | None, told: str
) -> None:
    head, own = SETTINGS.split("[endpoint.lines]")
    changed = {each.split(" ")[0] for each in settings.splitlines()}
    kept = [each for each in own.splitlines() if each.split(" ")[0] not in changed]
    project.write("headrace.toml", "\n".join([head, "[endpoint.lines]", *kept, settings]))
    project.environment.pop("LOG_SECRET")
    project.environment |= {} if secret is None else {"LOG_SECRET": secret}
    done = project.headrace("serve", "--port", "0")
    assert (done.code, told in done.err) == (2, True), done
    assert "too short" not in done.err
    assert SECRET not in done.err


def test_the_secret_is_needed_for_an_endpoint_that_is_made_later_and_not_for_one_that_is_not_served(
    project: Project,
) -> None:
    project.environment.pop("LOG_SECRET")
    project.write("headrace.toml", SETTINGS.replace("[endpoint.lines]", "[endpoint.later]"))
    done = project.headrace("serve", "--port", "0")
    assert (done.code, "isn't set" in done.err) == (2, True), done
    found = projects_of(project)
    with read(found) as views:
        routes = {"lines": sole("lines", 1)}
        redaction.check(found, views, routes, ["lines"])
        with pytest.raises(ConfigError, match="isn't set"):
            redaction.check(found, views, routes, ["later"])


def test_a_key_that_the_log_drops_is_refused_and_a_secret_is_needed_to_hash(project: Project) -> None:
    project.write("headrace.toml", SETTINGS.replace('["income"]', '["income", "account"]'))
    done = project.headrace("promote", "lines:1", "--key", "account")
    assert (done.code, "drops `account`, its `key` column" in done.err) == (2, True), done
    project.write("headrace.toml", SETTINGS.replace('hash_secret = "LOG_SECRET"', ""))
    done = project.headrace("serve", "--port", "0")
    assert (done.code, "the settings name no secret to hash with" in done.err) == (2, True), done
    for pasted in (SECRET, f"a{SECRET}", f"{SECRET}-"):
        project.write("headrace.toml", SETTINGS.replace('"LOG_SECRET"', f'"{pasted}"'))
        done = project.headrace("serve", "--port", "0")
        assert (done.code, "hash_secret" in done.err, SECRET in done.err) == (2, True, False), done


def test_a_column_of_the_section_serve_may_be_one_of_an_endpoint_that_is_not_served_now(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = {"rents": "size", "churn": "email"}
    monkeypatch.setattr(redaction, "_takes", lambda _, name, __: [(Column(name=takes[name], type="string"),)])
    routes = {name: sole(name, 1) for name in takes}
    project.write("headrace.toml", '[serve]\ndrop = ["email"]\n')
    with read(found := projects_of(project)) as views:
        for names in ([], ["rents"], ["churn"]):
            redaction.check(found, views, routes, names)
        with pytest.raises(ConfigError, match="no record has such a column"):
            redaction.check(found, views, {"rents": routes["rents"]}, ["rents"])
    project.write("headrace.toml", '[endpoint.rents]\ndrop = ["email"]\n')
    with read(found := projects_of(project)) as views:
        redaction.check(found, views, routes, ["churn"])
        with pytest.raises(ConfigError, match="no record has such a column"):
            redaction.check(found, views, routes, ["rents"])
