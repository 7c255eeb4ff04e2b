"""`ingest.files` as a plain function: formats, encodings, and files that are not what they should be."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.values import File, Folder
from headrace.errors import DefinitionError, SourceError
from headrace.spec.address import StoreAddress
from headrace.stages import ingest
from headrace.stages.ingest._files.locations import cursor_name_of
from headrace.stages.ingest._files.pictures import picture
from headrace.stages.ingest._files.texts import Utf8
from headrace.store.bucket.bucket import Bucket
from tests.servers.s3 import S3

TABLE = pa.table({"a": [1, 2], "b": ["x", "y"]})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder: outside of a run, relative paths begin where one is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, data: bytes | str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def refused(source: Any, **more: Any) -> str:
    with pytest.raises(SourceError) as raised:
        ingest.files(source, **more)
    assert raised.value.hint
    return f"{raised.value.message}\n{raised.value.hint}"


def ipc(table: pa.Table, *, file: bool) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


BODIES = {
    "t.csv": b"a,b\n1,x\n2,y\n",
    "t.tsv": b"a\tb\n1\tx\n2\ty\n",
    "t.csv.gz": gzip.compress(b"a,b\n1,x\n2,y\n"),
    "t.csv.bz2": bz2.compress(b"a,b\n1,x\n2,y\n"),
    "t.jsonl": b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n',
    "t.json": b'[{"a":1,"b":"x"},{"a":2,"b":"y"}]',
    "t.parquet": parquet(TABLE),
    "t.parquet.gz": gzip.compress(parquet(TABLE)),
    "t.arrow.bz2": bz2.compress(ipc(TABLE, file=True)),
    "t.arrow": ipc(TABLE, file=True),
    "t.ipc": ipc(TABLE, file=False),
}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"schema": [("a", 3)]}, "`schema` can't be used"),
        ({"encoding": 3}, "`encoding` of `ingest.files` is 3"),
        ({"new_only": "no"}, "`new_only` of `ingest.files` is 'no'"),
        ({"line_mib": 0}, "line_mib=0 is not a size"),
        ({"delimiter": ";;"}, "`delimiter` of `ingest.files` is ';;'"),
        ({"skip_rows": -1}, "`skip_rows` of `ingest.files` is -1"),
        ({"column_types": {"a": "int"}}, "`column_types` of `ingest.files` is {'a': 'int'}"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_read(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as told:
        ingest.files("nowhere/*.csv", **options)
    assert said in told.value.message
    assert told.value.hint


def test_a_schema_may_be_names_and_types() -> None:
    write("t.csv", "a,b\n1,2\n")
    assert ingest.files("t.csv", schema=[("a", pa.string())]).to_pylist() == [{"a": "1"}]


@pytest.mark.parametrize("name", BODIES)
def test_each_format_is_told_by_the_name(name: str) -> None:
    write(name, BODIES[name])
    assert ingest.files(name).equals(TABLE)


def test_files_come_in_the_order_of_their_paths_and_rows_can_carry_theirs() -> None:
    for name in ("b", "a", "sub/c"):
        write(f"data/{name}.csv", f"n\n{name}\n")
    table = ingest.files("data/**/*.csv", file_column="file")
    assert table.to_pylist() == [
        {"n": "a", "file": "data/a.csv"},
        {"n": "b", "file": "data/b.csv"},
        {"n": "sub/c", "file": "data/sub/c.csv"},
    ]


def test_text_and_pictures_are_a_row_a_file() -> None:
    write("t/a.txt", "one\ntwo\n")
    assert ingest.files("t/*.txt", file_column="file").to_pylist() == [{"text": "one\ntwo\n", "file": "t/a.txt"}]
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\0\0\0"
    write("p/a.png", png)
    assert ingest.files("p/*").to_pylist() == [{"format": "png", "width": 640, "height": 480, "bytes": png}]
    write("p/b.jpg", b"\xff\xd8\xff\xe0\x00")
    assert "`p/b.jpg` is cut off" in refused("p/*")
    write("p/b.jpg", b"what")
    assert "`p/b.jpg` is no PNG" in refused("p/*")


def test_the_sizes_of_pictures_are_read_from_each_format() -> None:
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 480, 640)
    assert picture(jpeg, "") == ("jpeg", 640, 480)
    assert picture(b"GIF89a" + struct.pack("<HH", 3, 4), "") == ("gif", 3, 4)
    assert picture(b"RIFF....WEBPVP8X" + bytes(8) + b"\x02\0\0\x03\0\0", "") == ("webp", 3, 4)


def test_a_folder_and_a_file_as_values() -> None:
    write("d/x/a.csv", "a\n1\n")
    write("d/b.csv", "a\n2\n")
    table = ingest.files(Folder("d"), match="**/*.csv", file_column="file")
    assert table.to_pylist() == [{"a": 2, "file": "b.csv"}, {"a": 1, "file": "x/a.csv"}]
    assert ingest.files(File("d/b.csv"))["a"].to_pylist() == [2]
    assert "no file of the folder `d` fits" in refused(Folder("d"), match="*.parquet")


def test_what_pyarrow_takes_of_csv_is_taken_by_its_own_names() -> None:
    write("t.csv", "# head\n1;x\n2;NN\n")
    options = {"delimiter": ";", "skip_rows": 1, "column_names": ["a", "b"]}
    table = ingest.files("t.csv", **options, null_values=["NN"], strings_can_be_null=True)
    assert table["b"].to_pylist() == ["x", None]
    for wrong in ({"delimitr": ";"}, {"delimiter": ";", "format": "jsonl"}):
        with pytest.raises(DefinitionError, match="takes no `delimit"):
            ingest.files("t.csv", **wrong)


# ---- columns that don't agree


def test_a_column_that_changes_its_type_in_the_third_file_is_named_with_both_files() -> None:
    for number, value in enumerate(("1", "2", "three")):
        write(f"t{number}.csv", f"id,v\n{number},{value}\n")
    assert "column `v` is `int64` in `t0.csv`, and `string` in `t2.csv`" in refused("*.csv")
    for promote in ("default", "permissive"):
        told = refused("*.csv", promote=promote)
        assert "schema=" in told
        assert "permissive" not in told  # texts and numbers don't combine
    text = pa.schema([("id", pa.int64()), ("v", pa.string())])
    assert ingest.files("*.csv", schema=text)["v"].to_pylist() == ["1", "2", "three"]
    numbers = pa.schema([("v", pa.int64())])
    assert "`t2.csv`: column `v` is 'three' in row 2, which can't be read as `int64`" in refused(
        "*.csv", schema=numbers
    )


@pytest.mark.parametrize("options", [{}, {"skip_rows": 1}, {"column_names": ["a", "b", "my minutes"], "skip_rows": 2}])
def test_a_value_of_a_csv_that_is_not_of_its_type_is_named_with_its_column_and_row(options: dict[str, Any]) -> None:
    rows = "".join(f'{each},"a\nb",{"abc" if each == 90_000 else each}\n' for each in range(100_000))
    write("t.csv", ("# about\n" if options else "") + "id,name,my minutes\n" + rows)
    told = refused("t.csv", schema=[("my minutes", pa.float64())], **options)
    assert (
        f"`t.csv`: column `my minutes` is 'abc' in row {90_002 + bool(options):,}, which can't be read as `double`"
        in told
    )
    assert "null_values=" in told
    found = ingest.files("t.csv", schema=[("my minutes", pa.float64())], null_values=["abc"], **options)
    assert found["my minutes"].null_count == 1


@pytest.mark.parametrize("schema", [None, [("id", pa.int64())]])
def test_a_row_of_a_csv_with_too_few_or_too_many_columns_is_named(schema: list[tuple[str, pa.DataType]] | None) -> None:
    rows = "".join(f'{each},"a\nb",x\n' for each in range(100_000))
    for row, count in (("7,8", 2), ("7,8,9,x", 4)):
        write("t.csv", f"id,name,v\n{rows}{row}\n{rows}")
        told = refused("t.csv", schema=schema)
        assert f"`t.csv`: row 100,002 has {count} columns, not 3" in told
        assert "must be in quotes" in told


def test_a_file_that_has_none_of_the_columns_of_the_schema_is_refused() -> None:
    schema = pa.schema([("id", pa.int64()), ("v", pa.float64())])
    write("t.csv", "id;v\n1;2\n")
    told = refused("t.csv", schema=schema)
    assert "`t.csv` has none of the columns of the schema" in told
    assert "its columns are `id;v`" in told
    assert ingest.files("t.csv", schema=schema, delimiter=";").to_pylist() == [{"id": 1, "v": 2.0}]
    write("t.csv", "id;v\n")
    assert ingest.files("t.csv", schema=schema).equals(schema.empty_table())


def test_numbers_widen_and_columns_may_lack_only_where_that_is_allowed() -> None:
    write("a.csv", "x\n1\n")
    write("b.csv", "x\n1.5\n")
    write("c.csv", "y\n1\n")
    told = refused("[ab].csv")
    assert "column `x` is `int64` in `a.csv`, and `double` in `b.csv`" in told
    assert 'or let numbers widen by `promote="permissive"`' in told
    assert ingest.files("[ab].csv", promote="permissive")["x"].to_pylist() == [1.0, 1.5]
    assert ingest.files("[ac].csv").to_pylist() == [{"x": 1, "y": None}, {"x": None, "y": 1}]
    assert "`a.csv` has no column `y`" in refused("[ac].csv", promote="none")


def test_a_value_that_changes_its_type_within_a_file_is_named() -> None:
    write("t.jsonl", '{"v": 1}\n{"v": "two"}\n')
    assert "`t.jsonl`: column `v` changed from number to string in row 1" in refused("t.jsonl")
    told = refused("t.jsonl", schema=pa.schema([("v", pa.int64())]))
    assert "column `v` is a string in row 1, and `v` is `int64` in `schema=`" in told


def test_a_missing_text_of_a_csv_is_empty_unless_texts_can_be_null() -> None:
    write("t.csv", "n,plan\n1,\n2,a\n3,NA\n4,-\n")
    pq.write_table(pa.table({"n": [5], "plan": pa.array([None], pa.string())}), "u.parquet")
    for options, plans in (
        ({}, ["", "a", "NA", "-"]),
        ({"null_values": ["-"]}, ["", "a", "NA", "-"]),
        ({"strings_can_be_null": True}, [None, "a", None, "-"]),
        ({"strings_can_be_null": True, "null_values": [""]}, [None, "a", "NA", "-"]),
    ):
        assert ingest.files("t.csv", **options)["plan"].to_pylist() == plans
    assert ingest.files("u.parquet")["plan"].to_pylist() == [None]


def test_a_schema_chooses_columns_and_has_missing_ones_be_null() -> None:
    schema = pa.schema([("b", pa.string()), ("c", pa.float32())])
    for name in ("t.csv", "t.jsonl", "t.json", "t.parquet"):
        write(name, BODIES[name])
        assert ingest.files(name, schema=schema).to_pylist() == [{"b": "x", "c": None}, {"b": "y", "c": None}]


# ---- nothing there


def test_a_column_that_stands_twice_is_named_whatever_the_schema() -> None:
    write("t.csv", "a,a,b\n1,2,3\n")
    assert "has several columns `a`" in refused("t.csv")
    assert "has several columns `a`" in refused("t.csv", schema=[("a", pa.int64()), ("b", pa.int64())])
    assert ingest.files("t.csv", schema=[("b", pa.int64())]).to_pylist() == [{"b": 3}]


def test_no_file_is_refused_unless_a_schema_says_what_the_columns_are() -> None:
    assert "no file fits `data/*.csv`" in refused("data/*.csv")
    schema = pa.schema([("a", pa.int64())])
    assert ingest.files("data/*.csv", schema=schema).equals(schema.empty_table())
    assert "`data/a.csv` is not there" in refused("data/a.csv")
    write("data/a.csv", "a\n1\n")
    assert "`data/` is a folder" in refused("data/")
    os.mkfifo("pipe.csv")
    assert "`pipe.csv` is not a regular file" in refused("pipe.csv")


def test_an_empty_file_adds_no_rows() -> None:
    for name in ("a.csv", "b.jsonl", "c.json"):
        write(name, "")
    assert ingest.files("*.*").num_rows == 0
    write("d.csv", "x\n1\n")
    assert ingest.files("*.*", file_column="file").to_pylist() == [{"x": 1, "file": "d.csv"}]
    write("e.parquet", "")
    assert "`e.parquet` can't be read as `parquet`" in refused("*.*")


def test_a_name_that_tells_no_format_is_asked_for_one() -> None:
    write("data.dat", "a\n1\n")
    assert "doesn't show its format" in refused("data.dat")
    assert ingest.files("data.dat", format="csv").num_rows == 1


# ---- encodings


@pytest.mark.parametrize(
    "data",
    [
        "a\nä€\n".encode(),
        codecs.BOM_UTF8 + "a\nä€\n".encode(),
        codecs.BOM_UTF16_LE + "a\nä€\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "a\nä€\n".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "a\nä€\n".encode("utf-32-le"),
    ],
)
def test_an_encoding_is_told_by_the_mark_at_the_beginning(data: bytes) -> None:
    write("t.csv", data)
    assert ingest.files("t.csv").to_pylist() == [{"a": "ä€"}]


def test_mixed_encodings_are_told_by_the_first_byte_that_is_none() -> None:
    good = "name\n" + "Zoë\n" * 300_000
    write("t.csv", good.encode() + "Zoë\n".encode("latin-1"))
    at = len(good.encode()) + 2
    told = refused("t.csv")
    assert f"`t.csv`: byte {at:,} (0xeb) is not valid UTF-8" in told
    assert "latin-1" in told
    write("t.csv", "name\nZoë\n".encode("latin-1"))
    assert ingest.files("t.csv", encoding="latin-1")["name"].to_pylist() == ["Zoë"]
    with pytest.raises(DefinitionError, match="encoding='latin-9000'"):
        ingest.files("t.csv", encoding="latin-9000")


@given(st.text(), st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"]))
def test_any_text_comes_out_as_it_went_in(text: str, encoding: str) -> None:
    marks = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE)
    if encoding in ("utf-8", "utf-16-le") and text.encode(encoding).startswith(marks):
        return
    stream = io.BufferedReader(Utf8(io.BufferedReader(io.BytesIO(text.encode(encoding))), "t", encoding=encoding))
    assert stream.read().decode() == text


def test_a_line_of_ten_gigabytes_is_refused_and_not_read() -> None:
    with open("t.csv", "wb") as file:
        file.write(b"a\n1\n")
        file.truncate(10 << 30)  # it takes no room
    assert "`t.csv` has a line of more than 16 MiB" in refused("t.csv")
    write("u.jsonl", b'{"a": "' + b"x" * 5000 + b'"}\n')
    assert "has a line of more than 0.00391 MiB" in refused("u.jsonl", line_mib=1 / 256)
    assert ingest.files("u.jsonl").num_rows == 1


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 30))
def test_a_line_over_the_limit_is_found_wherever_it_stands(lengths: list[int], limit: int) -> None:
    data = b"\n".join(b"x" * each for each in lengths)
    stream = Utf8(io.BufferedReader(io.BytesIO(data)), "t", line_bytes=limit)
    if max(lengths, default=0) > limit:
        with pytest.raises(SourceError, match="has a line of more than"):
            io.BufferedReader(stream).read()
    else:
        assert io.BufferedReader(stream).read() == data


def test_a_row_longer_than_a_block_and_values_of_several_lines_are_taken() -> None:
    long = "x" * 3_000_000
    rows = "".join(f'{n},"one\ntwo {n}"\n' for n in range(100_000))
    write("t.csv", f"a,b\n1,{long}\n{rows}")
    table = ingest.files("t.csv")
    assert table.num_rows == 100_001
    assert table["b"][0].as_py() == long
    assert table["b"][-1].as_py() == "one\ntwo 99999"


def test_types_are_found_from_all_rows_of_a_file() -> None:
    ids = [*range(300_000), "last"]
    write("t.csv", "id\n" + "".join(f"{each}\n" for each in ids))
    assert ingest.files("t.csv")["id"][-1].as_py() == "last"
    write("t.jsonl", "".join(f'{{"a": {each}}}\n' for each in range(300_000)) + '{"a": 0.5}\n')
    assert ingest.files("t.jsonl")["a"].type == pa.float64()


# ---- where files lie


def test_a_link_out_of_the_folder_is_refused_unless_it_is_allowed() -> None:
    write("outside/secret.csv", "a\n1\n")
    write("data/a.csv", "a\n2\n")
    os.symlink("../outside/secret.csv", "data/b.csv")
    told = refused("data/*.csv")
    assert "`data/b.csv` is a link that leads out of `data`" in told
    assert "links=True" in told
    assert ingest.files("data/*.csv", links=True).num_rows == 2
    os.unlink("data/b.csv")
    os.symlink("a.csv", "data/b.csv")
    assert ingest.files("data/*.csv").num_rows == 2, "inside of the folder it may lead anywhere"


def test_what_is_no_regular_file_is_passed_over_or_refused() -> None:
    write("data/a.csv", "a\n2\n")
    os.mkfifo("data/b.csv")
    os.mkdir("data/c.csv")
    assert ingest.files("data/*.csv").num_rows == 1


@pytest.mark.parametrize("source", ["http://a.example/x.csv", "ftp://a/x.csv"])
def test_what_is_no_place_for_files_is_refused(source: str) -> None:
    with pytest.raises(DefinitionError, match="can't be read"):
        ingest.files(source)


def test_a_bucket_is_read_like_a_folder(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    start = f"s3://{s3.bucket()}"
    bucket = Bucket(StoreAddress(url=start, endpoint=s3.endpoint))
    for name in ("in/a.csv", "in/deep/b.csv", "in/c.parquet", "out/d.csv"):
        bucket.put(name, BODIES["t.parquet" if name.endswith("parquet") else "t.csv"])
    where = {"endpoint": s3.endpoint}
    bucket.put("in/deep/", b"")  # how consoles make a folder
    bucket.put("empty/a.csv", b"")
    assert ingest.files(f"{start}/empty/*.csv", **where).num_rows == 0
    bucket.put("empty/b.csv", b"id\n1\n")
    assert ingest.files(f"{start}/empty/*.csv", **where).to_pylist() == [{"id": 1}]
    table = ingest.files(f"{start}/in/**/*.csv", file_column="file", **where)
    assert sorted(set(table["file"].to_pylist())) == [f"{start}/in/a.csv", f"{start}/in/deep/b.csv"]
    assert ingest.files(f"{start}/in/*.parquet", **where).equals(TABLE)
    assert ingest.files(f"{start}/in/a.csv", **where).equals(TABLE)
    assert "no longer exists" in refused(f"{start}/in/none.csv", **where)
    assert "no file fits" in refused(f"{start}/none/*.csv", **where)
    assert "no bucket" in refused("s3://headrace-none/a/*.csv", **where)


def json_text(value: object) -> bytes:
    return json.dumps(value).encode()


def test_json_that_is_no_list_of_objects_is_refused() -> None:
    write("t.json", json_text([1, 2]))
    assert "no list of objects" in refused("t.json")
    write("t.json", b"[{")
    assert "`t.json` can't be read as `json`" in refused("t.json")
    write("t.csv.gz", b"a\n1\n")
    assert "`t.csv.gz` can't be" in refused("t.csv.gz")


def test_a_cursor_is_called_the_same_wherever_its_options_lie_in_memory() -> None:
    one, other = object(), object()
    assert repr(one) != repr(other)
    names = {cursor_name_of("files", "in/*.csv", f"in/*.csv {[each]}", once=False) for each in (one, other)}
    assert len(names) == 1
