"""`headrace erase` on the real command, with a real server: a person is in no file afterwards."""

from __future__ import annotations

import http.client
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.backends.processes.namespace import works
from headrace.cli.commands.endpoints.erase import _say
from headrace.operate.erasure.erase import Erased
from tests.cli.test_serve import Client, deploy, deployed, serving
from tests.operate.test_erase import ANNA, files_with
from tests.projects import Project, lent

pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")
pytest.importorskip("uvicorn", reason="uvicorn, which `headrace serve` needs, is not installed")

PIPELINES = """
import pyarrow as pa

import headrace as hr
from headrace.stages import deploy, ingest, registry


def same(model: dict, rows: pa.Table) -> pa.Table:
    return rows.select(["x"]).rename_columns(["predicted"])


@hr.stage(kind="train")
def fit(table: pa.Table | None = None) -> dict:
    return {"weights": [1.0 * len(table or []), *range(5_000)]}


@hr.pipeline
def release() -> None:
    deploy.endpoint(fit(), "lines", predict=same, signature=pa.table({"x": [1.0]}), key="customer")


@hr.stage
def answers(log: pa.Table) -> pa.Table:
    rows, said = log.column("input").combine_chunks(), log.column("output").combine_chunks()
    table = pa.table({"customer": rows.field("customer"), "x": rows.field("x"), "y": said.field("predicted")})
    return pa.concat_tables([table] * 200)


@hr.stage
def numbers(table: pa.Table) -> pa.Table:
    return table.drop(["customer"])


@hr.pipeline
def again() -> None:
    table = answers(ingest.files("in/*.parquet"))
    registry.dataset("answers", table)
    registry.model("second", fit(numbers(table)))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path / "project", '[project]\npipelines = ["pipelines.py"]\n') as project:
        project.write("pipelines.py", PIPELINES)
        yield project


def ask(served: Client, *customers: str) -> list[str]:
    """Ask about customers, and return the ids of their predictions."""
    records = [{"x": float(number), "customer": customer} for number, customer in enumerate(customers)]
    status, answer = served.post({"records": records})
    assert status == 200, answer
    ids: list[str] = answer["ids"]
    return ids


def tell(served: Client, ids: list[str]) -> None:
    """Send a label of each prediction, as feedback."""
    body = json.dumps({"labels": [{"id": each, "label": f"{number} of {ANNA}"} for number, each in enumerate(ids)]})
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        path = "/v1/endpoints/lines/feedback"
        connection.request("POST", path, body, {"content-type": "application/json"})
        assert connection.getresponse().status == 200


def test_a_person_is_erased_from_the_log_of_a_server_and_from_what_was_made_of_it(
    project: Project, tmp_path: Path
) -> None:
    deployed(project, "release")
    backup = str(tmp_path / "backup")
    with serving(project) as served:
        about_anna = [ask(served, "bob", ANNA, "carol")[1], *ask(served, ANNA)]
        tell(served, about_anna)
    with serving(project) as served:
        (project.root / "in").mkdir()
        assert project.headrace("predictions", "lines", "--to", "in/log.parquet").code == 0
        deploy(project, "again")
        shutil.rmtree(project.root / "in")
        assert project.headrace("backup", backup).code == 0
        last, dora = ask(served, ANNA, "dora")
        kept = [*ask(served, "bob"), dora]
        tell(served, [last])

        told = project.headrace("erase", "lines", ANNA, "--dry-run", "--json").json
        assert told["predictions"] + told["unsealed"] == 3
        done = project.headrace("erase", "lines", ANNA, "--why", "she asked", "--no-wait")
        assert done.code == 6, done
        assert "not complete: a server of this host has not sealed its log yet" in done.err
        assert "dataset `answers:1`" in done.out
        assert re.search(r"left as they are: \d outputs\n +model `second:1`", done.out), done.out
        assert "not searched: other files, printed output" in done.out
        assert re.search(r"requests about the person that arrive until 2\S+ \S+ are left out too", done.out)
        assert "isn't complete" in project.headrace("fsck").out
        assert served.post({"records": [{"x": 1.0, "customer": "emil"}]})[0] == 200
    done = project.headrace("erase", "--resume", "--json")
    assert (done.code, done.json["erasures"][0]["waits"]) == (0, [])
    assert files_with(project.root) == []
    assert project.headrace("backup", backup).code == 0
    assert files_with(Path(backup)) == []
    assert project.headrace("ledger", "export", str(tmp_path / "all.headrace")).code == 0
    assert files_with(tmp_path) == []

    left = project.headrace("predictions", "lines", "--json").json["predictions"]
    assert sorted(each["input"]["customer"] for each in left) == ["bob", "bob", "carol", "dora", "emil"]
    assert set(kept) <= {each["id"] for each in left}
    assert project.headrace("fsck", "--deep").code == 0
    (listed,) = project.headrace("erasures", "--json").json["erasures"]
    assert (listed["why"], listed["endpoint"], listed["columns"]) == ("she asked", "lines", ["customer"])
    assert listed["predictions"] + listed["unsealed"] == 3
    assert project.headrace("labels", "lines", "--json").json["sources"] == []
    shown = project.headrace("erasures", listed["erasure"]).out
    assert ANNA not in shown
    assert "are left out too" in shown
    got = project.headrace("get", "latest", "answers")
    assert got.code == 2
    assert "was erased on" in got.err
    assert "she asked" in got.err


def test_bad_words_are_refused_with_what_to_do(project: Project) -> None:
    deployed(project, "release")
    done = project.headrace("erase", "lines")
    assert (done.code, 'headrace erase ENDPOINT KEY --why "..."' in done.err) == (2, True)
    done = project.headrace("erase", "lines", ANNA)
    assert (done.code, "an erasure needs a reason" in done.err) == (2, True)
    done = project.headrace("erase", "lime", ANNA, "--why", "x")
    assert (done.code, "did you mean `lines`?" in done.err) == (2, True)
    done = project.headrace("erase", "lines", "--resume")
    assert (done.code, "`--resume` takes no ENDPOINT" in done.err) == (2, True)
    assert project.headrace("erasures").err.startswith("nobody was erased yet")
    assert project.headrace("erasures", "nobody").code == 2


def test_what_was_made_from_erased_tables_is_counted_and_only_the_first_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    below = [
        "model `second:1`, from task `fit` of run `r`",
        *(f"text, from task `t[#{n}]` of run `r`" for n in range(59)),
    ]
    fields = {"tables": ("the output of task `t` of run `r`",), "below": tuple(below), "models": ("a:1", "b:2")}
    erased = Erased(erasure="e1", endpoint="lines", until=0.0, dry_run=False, blobs=1, waits=(), **fields)
    _say(erased)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "    the output of task `t` of run `r`"
    assert lines[2].endswith("if its source still has the person: take the person out there first")
    assert lines[3].endswith("can't be loaded any more until a run deploys them again: `a:1`, `b:2`")
    assert lines[4] == "    made from these tables, and left as they are: 60 outputs"
    assert lines[5] == f"        {below[0]}"
    assert lines[10] == "        and 55 more: `headrace erasures e1` lists them"


@pytest.mark.parametrize(("count", "last"), [(1, "and 20 more"), (7, "and 22 more, 2 preparations among them")])
def test_preparations_that_may_list_the_person_are_named_beside_the_models(
    count: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "preparation, which may list the person's value as a category, from task `clean` of run `r{}`"
    preparations = [told.format(number) for number in range(count)]
    models = [f"model `m:{number}`, from task `fit` of run `r`" for number in range(1, 9)]
    below = (*models, *preparations, *(f"text, from task `t[#{n}]` of run `r`" for n in range(17)))
    _say(Erased(erasure="e1", endpoint="lines", until=0.0, dry_run=True, blobs=1, waits=(), models=(), below=below))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:-1] == [*models[:5], *preparations[:5], f"{last}: `--json` lists them"]
