"""`headrace predict`: a registered model, asked about a file of rows."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.csv
import pytest
from blake3 import blake3
from pyarrow import parquet

from headrace.spec.artifact import Ref
from tests.cli.conftest import Result, Shell

PIPELINES = '''
import numpy as np
import pyarrow as pa
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import headrace as hr
from headrace.stages import prepare, registry, train


class Rule:
    """A model of the project."""

    def predict(self, frame):
        return frame["a"] > 0


def forest():
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["kind"]), remainder="passthrough")
    return make_pipeline(encoder, LogisticRegression())


@hr.stage(kind="ingest")
def rows() -> pa.Table:
    random = np.random.default_rng(3)
    a = random.normal(size=400)
    kind = np.where(random.random(400) > 0.5, "dry", "wet")
    late = a + (kind == "wet") + random.normal(size=400) > 0.5
    return pa.table({"kind": kind, "a": a, "n": random.integers(0, 9, 400), "late": late, "delay": 30 * a})


@hr.stage(kind="prepare")
def gaps(table: pa.Table) -> pa.Table:
    some = pa.array([None if n % 10 == 0 else value for n, value in enumerate(table["a"].to_pylist())])
    return table.set_column(1, "a", some)


@hr.stage(kind="ingest")
def wide() -> pa.Table:
    random = np.random.default_rng(4)
    return pa.table({f"column {n}": random.normal(size=50) for n in range(200)})


@hr.stage(kind="train")
def rule() -> Rule:
    return Rule()


@hr.stage(kind="train")
def kept(boosted: train.Boosted) -> train.Boosted:
    return boosted


@hr.pipeline
def flow() -> None:
    table = rows()
    features = ["kind", "a", "n"]
    registry.model("plain", train.sklearn(forest, table, target="late", features=features), aliases="best")
    boosted = train.lightgbm({"objective": "binary"}, table, target="late", features=features, num_boost_round=5)
    registry.model("trees", kept(boosted).model)
    number = train.lightgbm({"objective": "l2"}, table, target="delay", features=["a", "n"], num_boost_round=5)
    registry.model("minutes", number.model)
    cleaned = prepare.clean(gaps(table), [prepare.Fill(columns="a", how="mean"), prepare.Drop(where="n > 7")])
    fitted = train.sklearn(forest, cleaned.table, target="late", features=features)
    registry.model("prepared", fitted, preparation=cleaned.preparation)
    number = train.lightgbm({"objective": "l2"}, wide(), target="column 0", num_boost_round=2)
    registry.model("wide", number.model)
    registry.model("unsafe", rule(), signature=pa.schema({"a": pa.float64()}).empty_table())
'''

ROWS = pa.table({"id": [7, 8, 9], "kind": ["wet", "dry", "wet"], "a": [2.5, -2.0, 0.1], "n": [1, 2, 3]})


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The command as a process, in a project with registered models."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "headrace.toml").write_text('[project]\npipelines = ["pipelines.py"]\n')
    (folder / "pipelines.py").write_text(PIPELINES)
    shell = Shell(folder, is_real=True)
    done = shell("run", "flow")
    assert done.code == 0, done.err
    parquet.write_table(ROWS, folder / "rows.parquet")
    return shell


@pytest.fixture(scope="module")
def registry(command: Shell) -> Shell:
    """The command line in this process, in the same project."""
    return Shell(command.folder)


def written(registry: Shell, result: Result) -> pa.Table:
    """The table that a command wrote."""
    assert result.code == 0, result.err
    return parquet.read_table(registry.folder / result.out.strip())


def refused(registry: Shell, table: pa.Table, model: str = "plain") -> Result:
    """A prediction of rows that don't fit."""
    parquet.write_table(table, registry.folder / "wrong.parquet")
    done = registry("predict", model, "--rows", "wrong.parquet", "--to", "none.parquet")
    assert (done.code, done.out) == (2, "")
    assert not (registry.folder / "none.parquet").exists()
    return done


def test_the_answers_stand_beside_the_rows(command: Shell, registry: Shell) -> None:
    found = written(command, command("predict", "plain@best", "--rows", "rows.parquet", "--to", "out.parquet"))
    assert found.select(ROWS.column_names).equals(ROWS)
    assert found.column_names[4:] == ["predicted", "predicted_False", "predicted_True"]
    assert found["predicted"].to_pylist() == [True, False, found["predicted_True"][2].as_py() >= 0.5]
    again = written(registry, registry("predict", "model:plain:1", "--rows", "rows.parquet"))
    assert again.equals(found)
    assert (command.folder / "rows-predicted.parquet").exists()


def test_json_has_what_was_done_and_the_digest_of_the_file(registry: Shell) -> None:
    done = registry("predict", "trees", "--rows", "rows.parquet", "--to", "trees.csv", "--into", "late", "--json").json
    file = registry.folder / "trees.csv"
    assert done == {
        "model": "trees",
        "version": 1,
        "rows": 3,
        "refused": 0,
        "broken_rules": {},
        "unseen": {},
        "columns": ["late", "late_0", "late_1"],
        "signature": True,
        "file": "trees.csv",
        "digest": blake3(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
    }


def test_a_regressor_gives_a_number(registry: Shell) -> None:
    found = written(registry, registry("predict", "minutes", "--rows", "rows.parquet", "--to", "minutes.parquet"))
    assert found.column_names[4:] == ["predicted"]
    assert found["predicted"].type == pa.float64()


@pytest.mark.parametrize("suffix", [".arrow", ".csv", ".jsonl", ".json"])
def test_rows_of_every_form_get_the_same_answers(registry: Shell, suffix: str) -> None:
    file = registry.folder / f"rows{suffix}"
    if suffix == ".csv":
        pyarrow.csv.write_csv(ROWS, file)
    elif suffix == ".arrow":
        with pa.ipc.new_file(file, ROWS.schema) as writer:
            writer.write_table(ROWS)
    else:
        lines = ROWS.to_pylist()
        file.write_text(json.dumps(lines) if suffix == ".json" else "\n".join(map(json.dumps, lines)))
    found = written(registry, registry("predict", "plain", "--rows", file.name, "--to", "form.parquet"))
    best = written(registry, registry("predict", "plain", "--rows", "rows.parquet", "--to", "best.parquet"))
    assert found["predicted_True"].equals(best["predicted_True"])


def test_the_preparation_that_belongs_to_the_version_prepares_the_rows(registry: Shell) -> None:
    gap = ROWS.set_column(2, "a", pa.array([2.5, None, 0.1])).set_column(3, "n", pa.array([1, 2, 8]))
    parquet.write_table(gap, registry.folder / "gap.parquet")
    done = registry("predict", "prepared", "--rows", "gap.parquet", "--to", "filled.parquet")
    assert "1 of 3 rows have no answer: the preparation refuses them" in done.err
    found = written(registry, done)
    assert found.select(ROWS.column_names).equals(gap)
    assert found["predicted"].is_null().to_pylist() == [False, False, True]


def test_rows_that_the_preparation_refuses_all_stay_in_the_file_without_answers(registry: Shell) -> None:
    parquet.write_table(ROWS.set_column(3, "n", [[8, 9, 8]]), registry.folder / "over.parquet")
    done = registry("predict", "prepared", "--rows", "over.parquet", "--to", "none-left.parquet")
    assert "3 of 3 rows have no answer: the preparation refuses them" in done.err
    assert "3 of 3 rows broke the preparation's rule `2 drop: n > 7`" in done.err
    as_json = registry("predict", "prepared", "--rows", "over.parquet", "--to", "none-left.json", "--json").json
    assert as_json["broken_rules"] == {"2 drop: n > 7": 3}
    found = written(registry, done)
    assert found.column_names == [*ROWS.column_names, "predicted", "predicted_False", "predicted_True"]
    assert [found[name].null_count for name in found.column_names] == [0, 0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("model", ["plain", "prepared"])
def test_a_file_without_rows_gives_one_without_rows(registry: Shell, model: str) -> None:
    (registry.folder / "header.csv").write_text("id,kind,a,n\n")
    done = registry("predict", model, "--rows", "header.csv", "--to", "no-rows.csv", "--into", "late")
    assert (done.code, "the file that was read has no rows" in done.err) == (0, True)
    text = (registry.folder / "no-rows.csv").read_text()
    assert text == '"id","kind","a","n","late","late_False","late_True"\n'
    (registry.folder / "nothing.json").write_text("[]")
    assert registry("predict", model, "--rows", "nothing.json", "--to", "no-rows.json").code == 0
    assert (registry.folder / "no-rows.json").read_text() == "[]\n"
    (registry.folder / "nothing.jsonl").write_text("")
    assert registry("predict", model, "--rows", "nothing.jsonl", "--to", "no-rows.jsonl").code == 0
    assert (registry.folder / "no-rows.jsonl").read_text() == ""


@pytest.mark.parametrize("model", ["minutes", "prepared"])
def test_the_values_of_a_csv_file_stay_the_texts_that_they_are(registry: Shell, model: str) -> None:
    lines = [
        ["plz", "big", "far", "word", "same", "kind", "a", "n"],
        ["01067", "12345678901234567890", "1e400", "NaN", "x", "wet", "1.50", "1"],
        ["10115", "7", "2", "", 'a, "b"', "dry", "2", "02"],
    ]
    with (registry.folder / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    done = registry("predict", model, "--rows", "own.csv", "--to", "own-out.csv")
    assert done.code == 0, done.err
    with (registry.folder / "own-out.csv").open(newline="") as file:
        assert [row[: len(lines[0])] for row in csv.reader(file)] == lines
    typed = written(registry, registry("predict", model, "--rows", "own.csv", "--to", "own-typed.parquet"))
    assert typed["plz"].to_pylist() == ["01067", "10115"]
    assert typed["a"].to_pylist() == [1.5, 2.0]


def test_the_values_of_a_json_file_stay_as_they_are(registry: Shell) -> None:
    own = '{"id":12345678901234567890,"at":"2024-01-31T12:00:00Z","a":1.50,"n":1,"more":{"b":1e0}'
    (registry.folder / "own.jsonl").write_text(own + '}\n{"a":2,"n":3}\n')
    for suffix, end in ((".jsonl", "\n"), (".json", ",\n")):
        assert registry("predict", "minutes", "--rows", "own.jsonl", "--to", f"own-out{suffix}").code == 0
        text = (registry.folder / f"own-out{suffix}").read_text().removeprefix("[\n")
        first, second = text.split(end)[:2]
        assert first.startswith(own + ',"predicted":')
        assert second.startswith('{"a":2,"n":3,"predicted":')
    assert registry("predict", "minutes", "--rows", "own.jsonl", "--to", "own-json.csv").code == 0
    with (registry.folder / "own-json.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert [row["id"], row["at"], row["a"], row["more"]] == [
        "12345678901234567890",
        "2024-01-31T12:00:00Z",
        "1.50",
        '{"b":1e0}',
    ]


def test_a_json_file_with_the_nan_of_python_is_read(registry: Shell) -> None:
    (registry.folder / "nan.jsonl").write_text('{"a":1.5,"n":1,"x":NaN}\n')
    for to in ("nan-out.jsonl", "nan-out.csv"):
        done = registry("predict", "minutes", "--rows", "nan.jsonl", "--to", to)
        assert done.code == 0, done.err


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_each_row_of_json_is_one_line(registry: Shell, suffix: str, indent: int | None) -> None:
    rows = [{"a": 1.5, "n": 1, "more": {"b": [1, 2], "c": "d \n e"}}, {"a": 2, "n": 3, "more": {}}]
    given = [rows] if suffix == ".json" else rows
    text = "\n".join(json.dumps(each, indent=indent).replace("1.5", "1.50") for each in given)
    (registry.folder / f"pretty{suffix}").write_text(text)
    done = registry("predict", "minutes", "--rows", f"pretty{suffix}", "--to", "flat.jsonl")
    assert done.code == 0, done.err
    flat = (registry.folder / "flat.jsonl").read_text()
    found = [json.loads(line) for line in flat.splitlines()]
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert flat.startswith('{"a":1.50,')


@pytest.mark.parametrize("model", ["plain", "prepared"])
def test_a_column_of_texts_in_a_csv_file_may_look_like_numbers(registry: Shell, model: str) -> None:
    (registry.folder / "codes.csv").write_text("kind,a,n\n01,1.5,1\n02,2.5,2\n")
    for suffix in (".csv", ".parquet", ".jsonl"):
        done = registry("predict", model, "--rows", "codes.csv", "--to", f"texts{suffix}")
        assert (done.code, "2 of 2 rows have a `kind` that the model didn't learn" in done.err) == (0, True), done.err
    typed = parquet.read_table(registry.folder / "texts.parquet").select(["kind", "a", "n"])
    assert typed.to_pylist() == [{"kind": "01", "a": 1.5, "n": 1}, {"kind": "02", "a": 2.5, "n": 2}]
    assert (registry.folder / "texts.jsonl").read_text().startswith('{"kind":"01","a":1.5,"n":1,')


def test_a_text_that_often_means_missing_is_a_text_where_the_model_takes_one(registry: Shell) -> None:
    for kinds in (["NA"], ["NA", "wet"]):
        (registry.folder / "na.csv").write_text("kind,a,n\n" + "".join(f"{kind},1.5,1\n" for kind in kinds))
        found = written(registry, registry("predict", "plain", "--rows", "na.csv", "--to", "na.parquet"))
        assert found["kind"].to_pylist() == kinds


def test_rows_may_come_from_a_pipe(registry: Shell) -> None:
    pipe = registry.folder / "pipe.csv"
    os.mkfifo(pipe)
    sender = threading.Thread(target=pipe.write_text, args=("kind,a,n\nwet,1.50,1\n",), daemon=True)
    sender.start()
    assert registry("predict", "plain", "--rows", "pipe.csv", "--to", "piped.csv").code == 0
    sender.join()
    assert (registry.folder / "piped.csv").read_text().splitlines()[1].startswith('"wet","1.50","1",')


def test_the_rows_are_never_written_over(registry: Shell) -> None:
    rows = registry.folder / "kept.csv"
    pyarrow.csv.write_csv(ROWS, rows)
    (registry.folder / "link.csv").symlink_to("kept.csv")
    before = rows.read_bytes()
    for to in ("kept.csv", str(rows), "link.csv"):
        done = registry("predict", "plain", "--rows", "kept.csv", "--to", to)
        assert (done.code, "would write over the rows" in done.err) == (2, True)
    assert rows.read_bytes() == before


def test_a_column_that_the_preparation_misses_is_told_as_without_one(registry: Shell) -> None:
    (registry.folder / "semicolons.csv").write_text("kind;a;n\nwet;1.5;1\n")
    for model in ("plain", "prepared"):
        done = registry("predict", model, "--rows", "semicolons.csv")
        assert done.code == 2
        assert "the rows have no column `kind`, which the model takes as `string`" in done.err
        assert "hint: the rows have `kind;a;n`" in done.err
    (registry.folder / "words.csv").write_text("kind,a,n\nwet,many,1\n")
    wrong = registry("predict", "prepared", "--rows", "words.csv")
    assert (wrong.code, "`a` is `string`, and the preparation was made for `double`" in wrong.err) == (2, True)


def test_a_category_that_the_model_did_not_learn_from_is_told(registry: Shell) -> None:
    strange = ROWS.set_column(1, "kind", pa.array(["wet", "odd", "odd"]))
    parquet.write_table(strange, registry.folder / "strange.parquet")
    done = registry("predict", "plain", "--rows", "strange.parquet", "--to", "strange-out.parquet")
    assert done.code == 0
    assert "2 of 3 rows have a `kind` that the model didn't learn from" in done.err


def test_a_column_that_is_missing_is_named_with_its_type(registry: Shell) -> None:
    done = refused(registry, ROWS.rename_columns(["id", "kinds", "a", "n"]))
    assert "the rows have no column `kind`, which the model takes as `string`" in done.err
    assert "did you mean `kinds`?" in done.err
    assert "2 more are missing: `a`, `n`" in refused(registry, ROWS.select(["id"])).err


def test_a_column_of_another_type_is_named_with_a_value(registry: Shell) -> None:
    done = refused(registry, ROWS.set_column(2, "a", pa.array(["1", "much", "2"])))
    assert "column `a` is `string`, such as `1`, and the model takes `double`" in done.err
    assert "column `n` is `double`, such as `1.5`" in refused(registry, ROWS.set_column(3, "n", [[1.5, 2.0, 3.0]])).err


def test_a_whole_number_may_stand_for_a_float_and_null_for_any_value(registry: Shell) -> None:
    whole = ROWS.set_column(2, "a", pa.array([1, 2, 3]))
    parquet.write_table(whole, registry.folder / "whole.parquet")
    assert registry("predict", "plain", "--rows", "whole.parquet", "--to", "whole-out.parquet").code == 0
    nulls = ROWS.set_column(2, "a", pa.nulls(3))
    parquet.write_table(nulls, registry.folder / "nulls.parquet")
    assert registry("predict", "trees", "--rows", "nulls.parquet", "--to", "nulls-out.parquet").code == 0


def test_what_is_wrong_with_the_command_is_told(registry: Shell) -> None:
    def told(*words: str) -> str:
        done = registry("predict", *words)
        assert (done.code, done.out) == (2, "")
        return done.err

    assert "there is no model `nobody`" in told("nobody", "--rows", "rows.parquet")
    assert "model `plain` has no version 9" in told("plain:9", "--rows", "rows.parquet")
    assert "model `plain` has no alias `never`" in told("plain@never", "--rows", "rows.parquet")
    assert "is a dataset, not a model" in told("dataset:plain", "--rows", "rows.parquet")
    assert "gone.parquet" in told("plain", "--rows", "gone.parquet")
    assert "isn't a table that can be read" in told("plain", "--rows", "pipelines.py")
    assert "can't be written as `.txt`" in told("plain", "--rows", "rows.parquet", "--to", "out.txt")
    assert "have a column `id` already" in told("plain", "--rows", "rows.parquet", "--into", "id")
    (registry.folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    assert "broken.parquet" in told("plain", "--rows", "broken.parquet")
    for name in ("empty.csv", "{}.jsonl"):
        (registry.folder / name).write_text(name.partition(".")[0].removeprefix("empty"))
        assert f"`{name}` is empty: it has no columns" in told("prepared", "--rows", name)
    listed = told("plain", "--rows", "rows.jsonl", "--to", "out.txt").partition("hint")[2]
    assert listed.count("`.jsonl`") == 1


def test_rows_that_are_no_file_are_told(registry: Shell) -> None:
    absent = registry("predict", "plain", "--rows", "absent.csv")
    assert (absent.code, "there is no file `absent.csv`" in absent.err) == (2, True)
    (registry.folder / "folder.csv").mkdir()
    folder = registry("predict", "plain", "--rows", "folder.csv")
    assert (folder.code, "`folder.csv` is a folder" in folder.err) == (2, True)


def test_a_model_in_a_form_that_runs_code_is_refused(registry: Shell) -> None:
    assert "runs code when it is read" in refused(registry, ROWS, "unsafe").err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_and_leaves_nothing(registry: Shell) -> None:
    done = registry("predict", "plain", "--rows", "rows.parquet", "--to", "/dev/full")
    assert done.code == 2
    assert "can't write `/dev/full`: No space left on device" in done.err


def test_a_model_of_an_earlier_release_has_no_signature_and_answers(registry: Shell) -> None:
    """Such a version's reference to its artifact has no signature, and is shorter by that field."""
    with closing(sqlite3.connect(registry.folder / ".headrace" / "ledger.db")) as database, database:
        for name, out in database.execute("select name, out from versions where name in ('trees', 'plain')").fetchall():
            old = msgspec.msgpack.encode(msgspec.msgpack.decode(out)[:9])
            assert msgspec.msgpack.decode(old, type=Ref).signature is None
            database.execute(
                'insert into versions (kind, name, version, identity, out, at, note, "by") '
                "values ('model', ?, 1, 'x', ?, 0, '', 'me')",
                (f"old-{name}", old),
            )
    for name in ("trees", "plain"):
        done = registry("predict", f"old-{name}", "--rows", "rows.parquet", "--to", f"old-{name}.parquet")
        assert "the model has no signature" in done.err
        new = written(registry, registry("predict", name, "--rows", "rows.parquet", "--to", f"new-{name}.parquet"))
        assert written(registry, done).equals(new)
        parquet.write_table(ROWS.drop_columns(["a"]), registry.folder / "less.parquet")
        less = registry("predict", f"old-{name}", "--rows", "less.parquet")
        assert (less.code, "the table has no column `a`" in less.err) == (2, True)


def test_a_signature_that_is_too_long_is_left_out_with_a_warning(registry: Shell) -> None:
    assert (
        "the model has no signature: its 199 columns are more than fit into 4,096 bytes"
        in registry("show", "latest").out
    )
    assert registry("card", "model:wide", "--json").json["signature"] is None


def test_the_card_shows_what_a_model_takes_and_gives(registry: Shell) -> None:
    card = registry("card", "model:plain").out
    assert "| `kind` | `string` | `dry`, `wet` |" in card
    assert 'A row that is made up, as an example: {"kind":"dry","a":1.5,"n":1}' in card.replace("\\", "")
    assert "| `predicted_True` | `double` |" in card
    signature = registry("card", "model:trees", "--json").json["signature"]
    assert [each["name"] for each in signature["takes"]] == ["kind", "a", "n"]
    assert [each["name"] for each in signature["gives"]] == ["predicted", "predicted_0", "predicted_1"]
    assert [each["name"] for each in registry("card", "model:unsafe", "--json").json["signature"]["takes"]] == ["a"]
