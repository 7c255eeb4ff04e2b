"""Contracts on the real command: drafted, held, broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.project import project as projects
from headrace.project.state import views
from tests.cli.conftest import Beginnings, Shell

PIPELINES = """
import headrace as hr
import pyarrow as pa
from headrace.stages import ingest

FLIGHTS = ingest.Contract(
    name="flights",
    columns={"id": ingest.Column(type="int64", unique=True), "delay": ingest.Column(max=100)},
    references=(ingest.Reference(columns=("carrier",), table="carriers", keys=("code",)),),
    rows=ingest.Rows(shrink=0.5, grow=2.0),
    extra="allow",
)


@hr.stage
def flights(count: int, late: int) -> pa.Table:
    delays = [200.0] * late + [1.0] * (count - late)
    return pa.table({"id": range(count), "delay": delays, "carrier": ["UA"] * count})


@hr.stage
def carriers() -> pa.Table:
    return pa.table({"code": ["UA"]})


@hr.stage
def count(table: pa.Table) -> int:
    return len(table)


@hr.pipeline
def checked(count_: int = 100, late: int = 0) -> None:
    table = flights(count_, late)
    found = ingest.check(table, FLIGHTS, carriers=carriers(), history=hr.cursor("flights/rows"))
    count(found.table, when=found.passed)


@hr.pipeline
def drafted() -> None:
    count(ingest.check(flights(100, 0), hr.File("flights.toml")).table)
"""

TRAINED = """

@hr.stage(kind="train")
def fit(table: pa.Table) -> dict[str, float]:
    return {"rows": float(len(table))}


@hr.pipeline
def trained(late: int = 0) -> None:
    fit(ingest.check(flights(100, late), FLIGHTS, carriers=carriers(), history=[100]).table)
"""


@pytest.fixture
def flights(project: Shell) -> Shell:
    (project.folder / "pipelines.py").write_text(PIPELINES)
    return project


def states(done: object) -> dict[str, str]:
    return {task["name"]: task["state"] for task in done.json["tasks"]}  # type: ignore[attr-defined]


def test_rows_that_break_a_rule_are_put_aside_and_close_the_gate_and_are_seen_where_the_run_is_shown(
    flights: Shell,
) -> None:
    done = flights("run", "checked", "--late", "3")
    assert states(flights("show", "latest", "--json"))["count"] == "skipped"
    assert flights("get", "latest", "check.quarantine", "--to", "bad.arrow").code == 0
    shown = flights("show", "latest").out
    for number in ("contract/quarantined", "contract/rows", "contract/broken_rules"):
        assert number in shown, shown
    told = "contract `flights`: 3 of 100 rows (3%) are in quarantine, by `delay: range` (3)"
    logged = flights("logs", "latest", "check")
    assert told in logged.out + logged.err
    assert f"warning: `check`: {told}" in done.err
    assert "warning" not in flights("run", "checked", "--late", "0").err


def test_rules_that_only_warn_are_told_where_the_run_ends_and_where_it_is_shown(flights: Shell) -> None:
    warning = f"{PIPELINES}{TRAINED}".replace("ingest.Column(max=100)", 'ingest.Column(max=100, otherwise="warn")')
    flights.write("pipelines.py", warning)
    told = "contract `flights`: 1 rule broken (warn): `delay: range`: 3 of 100 rows (3%) are not 100 or less"
    for late in ("3", "3"):  # the second time it is reused
        assert f"warning: `check`: {told}" in flights("run", "trained", "--late", late).err
        assert f"`check` warns: {told}" in flights("show", "latest").out
    assert f"warning: {told}" in flights("logs", flights("runs", "--json").json["runs"][1]["run"], "check").out


def test_a_model_card_names_the_contract_that_the_data_broke(flights: Shell) -> None:
    flights.write("pipelines.py", f"{PIPELINES}{TRAINED}")
    flights("run", "trained", "--late", "3")
    card = flights("card", "latest").out
    head = card.partition("\n## Data")[0]
    assert "The data didn't pass `Contract flights` (task `check`): `delay: range (quarantine)`: 3 of" in head, card
    flights("run", "trained")
    assert "didn't pass" not in flights("card", "latest").out


def test_a_clean_table_goes_on_and_is_remembered_and_what_stops_keeps_its_report(
    flights: Shell, begun: Beginnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(flights.folder, "run checked")
    task = {each["name"]: each for each in flights("show", "latest", "--json").json["tasks"]}
    assert task["count"]["state"] == "succeeded"
    # nothing was copied: what goes on is the artifact that was given
    assert task["flights"]["outputs"][0]["digest"] in [each["digest"] for each in task["check"]["outputs"]]
    assert states(flights("run", "checked", "--json"))["count"] == "reused"
    assert set(states(flights("run", "checked", "--json")).values()) == {"reused"}
    broken = flights("run", "checked", "--param", "count_=1000")
    assert broken.code == 1
    assert "1 earlier versions have 100 in the median" in broken.err
    assert "Traceback" not in broken.err
    monkeypatch.chdir(flights.folder)
    with views(projects.load()) as found:
        texts = found.texts("latest")
    assert "fails: rows beside earlier versions (stop)" in (texts[0].out.inline or b"").decode()


def test_a_contract_is_drafted_from_a_run_or_a_file_and_holds_at_once(flights: Shell, begun: Beginnings) -> None:
    begun(flights.folder, "run checked")
    done = flights("contract", "draft", "latest", "flights", "--to", "flights.toml")
    assert (done.code, done.out) == (0, "flights.toml\n")
    assert flights("run", "drafted").code == 0
    again = flights("contract", "draft", "latest", "flights", "--to", "flights.toml")
    assert (again.code, again.err.splitlines()[0]) == (2, "error: `flights.toml` is there already")
    (flights.folder / "x.csv").write_text("a,b\n1,x\n2,y\n")
    assert 'allowed = ["UA"]' in flights("contract", "draft", "latest", "flights").out
    assert "[columns.a]" in flights("contract", "draft", "x.csv").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.csv"], "there is no file `no.csv`"),
        (["."], "`.` is not a file"),
        (["pipelines.py"], "isn't a table that can be read"),
        (["broken.parquet"], "`broken.parquet` can't be read"),
        (["latest", "flights"], ""),
    ],
)
def test_what_is_no_table_is_told_in_one_error(flights: Shell, words: list[str], said: str) -> None:
    (flights.folder / "broken.parquet").write_bytes(b"PAR1")
    done = flights("contract", "draft", *words)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert said in done.err
    assert "Traceback" not in done.err
    assert not list(Path(flights.folder).glob("*.toml"))[1:]


def test_of_several_outputs_a_draft_names_those_that_are_tables(flights: Shell, begun: Beginnings) -> None:
    begun(flights.folder, "run checked")
    done = flights("contract", "draft", "latest", "check")
    assert (done.code, "is a `Checked`, not a table" in done.err) == (2, True)
    assert "hint: name a part of it that is a table: `TASK.table`, `TASK.quarantine`" in done.err
    assert "[columns.delay]" in flights("contract", "draft", "latest", "check.table").out
