"""How logs are read: lines, rotation, formats, and what is no line. Cursors are kept by hand here."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import itertools
import json
import lzma
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.define.cursor import Cursor
from headrace.errors import DefinitionError, SourceError
from headrace.stages import ingest
from headrace.stages.ingest._logs import logs
from headrace.stages.ingest._logs.events import Event, lines, together
from headrace.stages.ingest._logs.logs import Logs
from headrace.stages.ingest._logs.patterns import fitted, parser_of
from headrace.stages.ingest._logs.regex import Linear
from headrace.stages.ingest._logs.rotation import Log
from headrace.stages.ingest._logs.table import LogTable, extended

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  the column has no zone


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    return tmp_path


class Watch:
    """Reads again and again, as runs do, with a cursor that goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any] | None = None, **more: Any) -> None:
        self._cursor = Cursor("c", 0, None)
        self._how = {**(how or {}), **more}
        self.advances = 0
        monkeypatch.setattr(logs, "cursor_named", lambda name: self._cursor)
        monkeypatch.setattr(logs, "advance", self._advance)

    def _advance(self, cursor: Cursor, value: object) -> None:
        self._cursor = Cursor("c", cursor.version + 1, value)
        self.advances += 1

    def read(self) -> Logs:
        return ingest.logs("logs/*", **self._how)

    def lines(self) -> list[str]:
        rows = self.read().rows
        return rows["line"].to_pylist() if rows.num_columns else []


def append(name: str, text: str | bytes) -> None:
    with open(f"logs/{name}", "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def numbered(start: int, end: int) -> str:
    return "".join(f"2026-01-02 line {each}\n" for each in range(start, end))


def said(start: int, end: int) -> list[str]:
    return numbered(start, end).splitlines()


def test_each_line_comes_once_and_one_that_is_not_ended_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    append("app.log", numbered(0, 3) + "2026-01-02 li")
    assert watch.lines() == said(0, 3)
    append("app.log", "ne 3\n")
    assert watch.lines() == said(0, 4)
    assert watch.lines() == said(0, 4)
    assert watch.advances == 2


def test_only_new_lines_are_given_to_those_who_ask_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, new_only=True)
    append("app.log", numbered(0, 3))
    assert watch.lines() == said(0, 3)
    assert watch.lines() == []
    append("app.log", numbered(3, 5))
    assert watch.lines() == said(3, 5)


@pytest.mark.parametrize("pack", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_a_log_that_is_renamed_and_packed_is_known_again(monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    watch = Watch(monkeypatch)
    append("app.log", numbered(0, 100))
    watch.read()
    append("app.log", numbered(100, 150))  # written after the last look, before it was rotated
    rotate("app.log", pack)
    append("app.log", numbered(150, 160))
    assert watch.lines() == said(0, 160)
    rotate("app.log", pack)
    assert watch.lines() == said(0, 160)


def rotate(name: str, pack: str = "") -> None:
    """Rotate as logrotate does: the older ones one further, this one to `.1`, packed."""
    for number in reversed(range(1, 9)):
        if os.path.exists(f"logs/{name}.{number}{pack}"):
            os.rename(f"logs/{name}.{number}{pack}", f"logs/{name}.{number + 1}{pack}")
    os.rename(f"logs/{name}", f"logs/{name}.1")
    if pack:
        data = Path(f"logs/{name}.1").read_bytes()
        Path(f"logs/{name}.1{pack}").write_bytes(packed(data, pack))
        os.unlink(f"logs/{name}.1")


def packed(data: bytes, pack: str) -> bytes:
    if pack == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[pack](data)


def test_copytruncate_neither_doubles_nor_loses_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    append("app.log", numbered(0, 50))
    watch.read()
    append("app.log", numbered(50, 60))
    data = Path("logs/app.log").read_bytes()
    Path("logs/app.log.1").write_bytes(data[:700])  # the copy is being made
    assert watch.lines() == said(0, 60)
    Path("logs/app.log.1").write_bytes(data)
    assert watch.lines() == said(0, 60)
    os.truncate("logs/app.log", 0)
    assert watch.lines() == said(0, 60)
    append("app.log", numbered(60, 65))
    assert watch.lines() == said(0, 65)


def test_logs_that_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    append("app.log", "started\n")
    assert watch.lines() == ["started"]
    append("app.log", "one\n")
    rotate("app.log")
    append("app.log", "started\ntwo and more than one\n")
    assert sorted(watch.lines()) == ["one", "started", "started", "two and more than one"]
    Path("logs/other.log").write_text("started\n")
    assert watch.lines().count("started") == 3, "logs of other names are never copies"


def test_a_log_that_is_truncated_and_written_anew_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    append("app.log", numbered(0, 9))
    watch.read()
    Path("logs/app.log").write_text(numbered(20, 50))
    assert watch.lines() == said(0, 9) + said(20, 50)


def test_a_log_that_is_rotated_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a pass the log is copied, truncated and written anew; all is looked at once more."""
    watch = Watch(monkeypatch)
    append("app.log", numbered(0, 50))
    watch.read()
    append("app.log", numbered(50, 80))
    go, done = Log.go, []

    def interrupted(log: Log, offset: int) -> bool:
        if log.path.endswith("app.log") and offset and not done:
            done.append(True)
            shutil.copy("logs/app.log", "logs/app.log.1")
            Path("logs/app.log").write_text(numbered(80, 200))
        return go(log, offset)

    monkeypatch.setattr(Log, "go", interrupted)
    assert sorted(watch.lines()) == sorted(said(0, 200))
    assert done


def test_a_packed_log_that_is_being_written_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    data = gzip.compress(os.urandom(2000).hex().encode() + b"\n")
    append("app.log", "now\n")
    append("app.log.2.gz", data[:900])
    found = watch.read()
    assert found.rows["line"].to_pylist() == ["now"]
    assert "can't be unpacked yet" in str(found.report.grids[0].rows)
    append("app.log.2.gz", data[900:])
    assert watch.read().rows.num_rows == 2


# ---- lines that are none


def test_lines_that_do_not_fit_go_to_the_quarantine_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pa.schema([("status", pa.int64())])
    watch = Watch(
        monkeypatch, how={"pattern": r"(?P<level>[A-Z]+) (?P<status>\S+)", "schema": schema, "line_column": "n"}
    )
    append("app.log", "INFO 200\nwhat is this\nWARN many\n\nINFO 404\n" + "x" * 2_000_000 + "\nINFO 1\n")
    append("app.log", b"INFO \xff\n")
    found = watch.read()
    assert found.rows.to_pylist() == [
        {"status": 200, "n": 1, "level": "INFO"},
        {"status": 404, "n": 5, "level": "INFO"},
        {"status": 1, "n": 7, "level": "INFO"},
    ]
    assert [(row["line"], row["why"]) for row in found.quarantine.to_pylist()] == [
        (2, "it doesn't match the pattern"),
        (3, "column `status` is `int64`, not 'many'"),
        (6, "it is 2,000,000 bytes long, over the limit of 1 MiB"),
        (8, "byte 5 of it (0xff) is no UTF-8"),
    ]
    assert len(found.quarantine["text"][2].as_py()) == 1000
    assert {fact.name: fact.value for fact in found.report.facts}["quarantined"] == 4
    append("app.log", "INFO 2\nbad\n")
    assert [row["n"] for row in watch.read().rows.to_pylist()] == [1, 5, 7, 9]
    assert watch.read().quarantine["line"].to_pylist() == [2, 3, 6, 8, 10]


def test_lines_in_the_quarantine_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(monkeypatch, how={"pattern": r"(?P<level>[A-Z]+)"})
    append("app.log", "INFO\nWARN\n")
    watch.read()
    assert "warning" not in capsys.readouterr().err
    append("app.log", b"what is this\n\xff\nor that\n")
    for _ in range(2):  # the second read finds nothing new, and returns the same lines
        watch.read()
        said = "3 of 5 lines (60%) are in quarantine: 2 x it doesn't match the pattern; 1 x byte 0 of it"
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "fine", "bad"),
    [
        (pa.int8(), {"5": 5, "-128": -128}, ["500", "-129"]),
        (pa.uint8(), {"255": 255}, ["256", "-1"]),
        (pa.bool_(), {"true": True, "false": False}, ["1", '"yes"']),
        (pa.timestamp("us"), {'"1970-01-01"': EPOCH}, [f"1{'0' * 40}"]),
        (pa.large_string(), {'"x"': "x"}, [f"1{'0' * 40}"]),
    ],
)
def test_a_value_that_a_column_of_the_schema_cannot_hold_goes_to_the_quarantine(
    kind: pa.DataType, fine: dict[str, Any], bad: list[str]
) -> None:
    append("app.log", "".join(f'{{"x": {each}}}\n' for each in [*bad, *fine]))
    found = ingest.logs("logs/*", format="json", schema=[("x", kind)])
    assert found.rows["x"].to_pylist() == list(fine.values())
    assert found.quarantine["line"].to_pylist() == list(range(1, len(bad) + 1))


def test_a_truth_of_a_pattern_is_one_by_the_schema() -> None:
    append("app.log", "hit=true\nhit=false\nhit=maybe\n")
    found = ingest.logs("logs/*", format="logfmt", schema=[("hit", pa.bool_())])
    assert found.rows["hit"].to_pylist() == [True, False]
    assert found.quarantine["line"].to_pylist() == [3]


def test_mixed_encodings_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, encoding=["utf-8", "latin-1"])
    append("app.log", "Zoë\n".encode() + "Zoë\n".encode("latin-1"))
    assert watch.lines() == ["Zoë", "Zoë"]
    for wrong in ("utf-16", "no-such"):
        with pytest.raises(DefinitionError):
            ingest.logs("logs/*", encoding=wrong)


def test_a_line_of_256_mib_is_passed_over_without_holding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    with open("logs/app.log", "wb") as file:
        file.write(b"one\nx")
        file.truncate(256 << 20)  # it takes no room
        file.seek(0, os.SEEK_END)
        file.write(b"\ntwo\n")
    held = pa.total_allocated_bytes()
    found = watch.read()
    assert found.rows["line"].to_pylist() == ["one", "two"]
    assert "over the limit" in found.quarantine["why"][0].as_py()
    assert pa.total_allocated_bytes() - held < 1 << 20


def test_the_first_line_behind_a_vast_hole_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    with open("logs/app.log", "wb") as file:
        file.seek(5 << 20)  # where a writer goes on whose log was truncated
        file.write(b"one\ntwo\n")
    assert watch.lines() == ["one", "two"]
    append("app.log", "three\n")
    assert watch.lines() == ["one", "two", "three"]


def test_an_empty_log_has_the_columns_that_its_lines_will_have() -> None:
    append("app.log", "")
    typed = ingest.logs("logs/*", pattern=r"(?P<n>\d+) (?P<at>\S+)( (?P<more>.*))?", schema=[("n", pa.int64())]).rows
    assert [(each.name, str(each.type)) for each in typed.schema] == [
        ("n", "int64"),
        ("at", "string"),
        ("more", "string"),
    ]
    assert ingest.logs("logs/*", format="combined").rows.schema.field("status").type == pa.int64()
    assert ingest.logs("logs/*", format="json").rows.num_columns == 0


def test_no_logs_are_refused_unless_a_schema_says_what_the_columns_are() -> None:
    with pytest.raises(SourceError, match=r"no log fits `logs/\*`"):
        ingest.logs("logs/*")
    assert ingest.logs("logs/*", schema=pa.schema([("line", pa.string())])).rows.schema.names == ["line"]
    with pytest.raises(DefinitionError, match="lines have no such column"):
        ingest.logs("logs/*", schema=pa.schema([("a", pa.string())]))
    with pytest.raises(DefinitionError, match="reads local folders"):
        ingest.logs("s3://a/b/*")


def test_logs_that_are_gone_are_an_error_while_no_column_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, format="json")
    append("app.log", "no object\n")
    assert not watch.read().rows.num_columns
    os.remove("logs/app.log")
    with pytest.raises(SourceError, match=r"no log fits `logs/\*`"):
        watch.read()


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ({"schema": [("tickt", pa.int64())]}, "did you mean `ticket`?"),
        ({"schema": pa.schema([("zzz", pa.int64())])}, "there are ticket, at"),
        ({"times": {"att": "%Y"}}, "did you mean `at`?"),
        ({"schema": 3}, "give names and types"),
        ({"times": {"at": "%Q"}}, "as in strptime"),
        ({"encoding": []}, "or leave it out"),
        ({"encoding": 3}, "give text or several of text"),
        ({"line_mib": 0}, "give a number of MiB"),
        ({"line_mib": "x"}, "give a number"),
        ({"new_only": "no"}, "give True or False"),
        ({"file_column": "at"}, "another name for `file_column`"),
        ({"file_column": "x", "line_column": "x"}, "another name for `file_column`"),
    ],
)
def test_options_that_no_line_could_fit_are_refused(how: dict[str, Any], hint: str) -> None:
    append("app.log", "1 2026\n")
    pattern = r"(?P<ticket>\d+) (?P<at>\d+)"
    with pytest.raises(DefinitionError) as told:
        ingest.logs("logs/*", pattern=pattern, **how)
    assert hint in (told.value.hint or "")
    found = ingest.logs("logs/*", pattern=pattern, schema=[("ticket", pa.int64())])
    assert found.rows.to_pylist() == [{"ticket": 1, "at": "2026"}]
    named = pa.schema([("ticket", pa.int64()), ("file", pa.string())])
    assert ingest.logs("logs/*", pattern=pattern, schema=named, file_column="file").rows.num_rows == 1


def test_no_column_of_a_line_gives_way_to_one_that_tells_where_it_stood() -> None:
    append("app.log", '{"file": "mine"}\n')
    with pytest.raises(SourceError, match=r"`logs/app\.log` has a column `file` of its own"):
        ingest.logs("logs/*", format="json", file_column="file")
    with pytest.raises(DefinitionError, match="two columns would be called `line`"):
        ingest.logs("logs/*", file_column="line")


@pytest.mark.parametrize("pattern", [r"(?P<a>(a+)+)b", r"(?P<a>.*)foo.*bar.*baz.*x", r"((?P<a>\w+\s?)*)!"])
def test_no_line_takes_a_pattern_longer_than_its_length_says(pattern: str) -> None:
    append("app.log", "a" * 1_000_000 + "\n" + "foo bar baz " * 50_000 + "\n")
    append("more.log", "ab\n")
    began = time.process_time()
    found = ingest.logs("logs/*", pattern=pattern)
    assert found.rows.num_rows + found.quarantine.num_rows == 3
    ingest.logs("logs/*", multiline=pattern)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("pattern", [r"(?P<a>x)(?=y)", r"(?P<a>x)(?P=a)", r"(?P<a>(?<=y)x)", r"(?P<a>x++)"])
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    append("app.log", "xy\n")
    with pytest.raises(DefinitionError, match="isn't a pattern for RE2") as told:
        ingest.logs("logs/*", pattern=pattern)
    assert "without look-around" in (told.value.hint or "")


@pytest.mark.parametrize(
    ("pattern", "text", "row"),
    [
        (r"(?P<a>\p{L}+) .*", "Zoë (1)", {"a": "Zoë"}),
        (r"(?<a>\w)\Q(x\E(\))", "1(x)", {"a": "1"}),
        (r"(?P<a>[[:alpha:](]+)\{,3}", "(x{,3}", {"a": "(x"}),
        (r"(?P<é>[{,3}]+)", "{", {"é": "{"}),
    ],
)
def test_a_pattern_is_re2s(pattern: str, text: str, row: dict[str, str]) -> None:
    linear = Linear(pattern, "pattern")
    assert (linear.names, linear.rows([text, "?"])) == (tuple(row), [row, None])


@pytest.mark.parametrize(
    ("pattern", "told", "hint"),
    [
        ("(?P<a>x{,3})", "`pattern` has `{,3}`", "write `{0,3}`, or `\\{,3}` if"),
        ("(?P<a>x)|(?P<a>y)", "two groups `a`", "a name of its own"),
        ("(?P<a>x))(y", "unexpected )", 'as r"..."'),
        (r"(?P<a>x)\Qy", "missing )", 'as r"..."'),
        ("(?P<a>\ud800)", "surrogates", 'as r"..."'),
        (3, "`pattern` is a `int`", "give a text"),
    ],
)
def test_a_pattern_that_is_none_or_means_something_else_is_refused(pattern: Any, told: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as error:
        Linear(pattern, "pattern")
    assert told in error.value.message
    assert hint in (error.value.hint or "")


@given(st.lists(st.text(st.sampled_from("ab()[] \n1é")), max_size=5))
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<x>a*)(b(?P<y>[()\]]+)?)?.*",
        r"(?P<x>[(a\])]*)(\(|\[)?(?P<y>b)?",
        r"(?i)(?P<x>A|)(?P<y>\x41?)(.*)",
        r"(?P<x>\()(?P<y>)",
    ],
)
def test_patterns_match_as_pythons_do(pattern: str, texts: list[str]) -> None:
    matches = [re.compile(pattern, re.DOTALL).fullmatch(each) for each in texts]
    assert Linear(pattern, "pattern").rows(texts) == [None if each is None else each.groupdict() for each in matches]
    begun = re.compile(pattern.encode(), re.DOTALL)
    data = [each.encode() for each in texts]
    assert Linear(pattern, "multiline").begins(data) == [begun.match(each) is not None for each in data]


# ---- formats


def test_json_lines_may_gain_columns_and_what_changes_its_type_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, format="json")
    append("app.log", '{"a": 1}\n{"a": 2, "b": {"c": 1}}\n[1]\n{"a"\n')
    assert watch.read().rows.to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": '{"c":1}'}]
    append("app.log", '{"a": "three"}\n{"a": 4, "d": 1.5, "b": null}\n')
    found = watch.read()
    assert found.rows.to_pylist()[2:] == [{"a": 4, "b": None, "d": 1.5}]
    assert [each.partition(":")[0] for each in found.quarantine["why"].to_pylist()] == [
        "it is no JSON object",
        "it is no JSON",
        "column `a` is `int64`, not 'three'",
    ]


def test_integers_become_floats_when_the_first_float_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, format="json")
    append("app.log", '{"ms": 1}\n')
    watch.read()
    append("app.log", '{"ms": 2}\n{"ms": 2.5}\n')
    assert watch.read().rows["ms"].to_pylist() == [1.0, 2.0, 2.5]
    watch = Watch(monkeypatch, format="json", schema=pa.schema([("ms", pa.int64())]))
    assert watch.read().quarantine["why"].to_pylist() == ["column `ms` is `int64`, not 2.5"]


def test_logfmt_and_what_web_servers_write() -> None:
    logfmt = parser_of("logfmt", None, {})
    good, odd, words = logfmt(['a=1 b="two \\"x\\"" c= flag', 'a="', "nonsense here"])
    assert good == {"a": "1", "b": 'two "x"', "c": "", "flag": None}
    assert (odd, words) == ("it is no logfmt at character 1", "it has no `key=value`, as logfmt has")
    line = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326 "http://e/" "Mozilla (x)"'
    dash, never = 'h - - [10/Oct/2000:13:55:36 -0700] "-" 408 -', line.replace("Oct", "Foo")
    row, short, *bad = parser_of("combined", None, {})([line, dash, "what", never])
    assert isinstance(row, dict)
    assert isinstance(short, dict)
    assert (row["path"], row["status"], row["size"], row["ident"]) == ("/a", 200, 2326, None)
    assert row["time"].isoformat() == "2000-10-10T13:55:36-07:00"
    assert short["agent"] is None
    assert bad == ["it doesn't match the pattern", "its time can't be read: '10/Foo/2000:13:55:36 -0700'"]


def test_an_event_of_several_lines_waits_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, multiline=r"\d{4}-", line_column="n")
    append("app.log", "2026-01 a\n  at x\n  at y\n2026-01 b\n  at")
    assert watch.read().rows.to_pylist() == [{"line": "2026-01 a\n  at x\n  at y", "n": 1}]
    append("app.log", " z\n2026-01 c\n")
    assert watch.read().rows.to_pylist()[1:] == [{"line": "2026-01 b\n  at z", "n": 4}]
    rotate("app.log", ".gz")
    assert watch.read().rows.to_pylist()[2:] == [{"line": "2026-01 c", "n": 6}]


def test_times_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, how={"pattern": r"(?P<at>\S+) (?P<what>.*)", "times": {"at": "%d.%m.%Y"}})
    append("app.log", "31.01.2026 good\n2026-01-31 bad\n")
    found = watch.read()
    assert pa.types.is_timestamp(found.rows.schema.field("at").type)
    assert found.quarantine["why"].to_pylist() == ["column `at` is no time of the form `%d.%m.%Y`: '2026-01-31'"]


@pytest.mark.parametrize(
    "how", [{"format": "xml"}, {"pattern": "("}, {"pattern": "x"}, {"format": "json", "pattern": "(?P<a>x)"}]
)
def test_how_lines_cannot_be_read_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        ingest.logs("logs/*", **how)


# ---- the pure parts


@given(st.binary(max_size=200), st.integers(1, 30), st.booleans(), st.integers(1, 50))
def test_lines_are_those_of_the_bytes_wherever_they_are_cut(data: bytes, size: int, final: bool, limit: int) -> None:
    file = io.BytesIO(data)
    found = list(lines(lambda count: file.read(min(size, count)), offset=7, line=1, limit=limit, final=final))
    whole = data.split(b"\n")
    last = whole.pop()
    if final and last:
        whole.append(last)
    assert [event.line for event in found] == list(range(1, len(whole) + 1))
    ends = [7 + sum(len(each) + 1 for each in whole[: number + 1]) for number in range(len(whole))]
    if final and last:
        ends[-1] -= 1
    assert [event.end for event in found] == ends
    for event, each in zip(found, whole, strict=True):
        bare = each.removesuffix(b"\r").lstrip(b"\0")
        if len(bare) <= limit:
            assert (event.data, event.long) == (bare, 0)
        else:
            assert event.long


@given(st.lists(st.sampled_from([b"> a", b"b", b"c" * 40])), st.booleans())
def test_events_hold_all_lines_once(each: list[bytes], final: bool) -> None:
    given = [Event(number, number, data, number * 10) for number, data in enumerate(each, start=1)]
    found = list(together(given, Linear(">", "multiline").begins, limit=60, final=final))
    assert [event.line for event in found] == sorted({event.line for event in found})
    for before, after in itertools.pairwise(found):
        assert after.line == before.last + 1
    if final and each:
        assert (found[-1].last, found[-1].end) == (len(each), len(each) * 10)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.booleans() | st.integers() | st.text())))
def test_any_rows_become_a_table(rows: list[dict[str, Any]]) -> None:
    table = LogTable()
    for row in rows:
        assert table.add(row) is None
    found = table.table()
    for name in found.schema.names:
        kind = found.schema.field(name).type
        assert found[name].to_pylist() == [fitted(row.get(name), kind) for row in rows]


def test_whole_numbers_that_no_float_holds_become_text_beside_floats() -> None:
    great = 2**60 + 1

    def table(rows: list[Any], before: pa.Table | None = None) -> pa.Table:
        made = LogTable(before=None if before is None else before.schema)
        assert [made.add({"a": row}) for row in rows] == [None] * len(rows)
        return made.table()

    earlier = table([great])
    later = table([1.5], earlier)
    parts = extended([earlier], later)
    assert [each for part in parts for each in part["a"].to_pylist()] == [str(great), "1.5"]
    assert table([great, 1.5], earlier)["a"].to_pylist() == [str(great), "1.5"]
    assert LogTable(before=later.schema).add({"a": great}) == f"column `a` is `double`, not {great}"


@given(st.lists(st.integers(0, 30), max_size=40))
def test_parts_stay_few_and_hold_all_rows(sizes: list[int]) -> None:
    parts: list[pa.Table] = []
    rows: list[int] = []
    for size in sizes:
        new = list(range(len(rows), len(rows) + size))
        parts = extended(parts, pa.table({"a": pa.array(new, pa.int64())}))
        rows += new
    assert [each for part in parts for each in part["a"].to_pylist()] == rows
    assert len(parts) <= max(1, len(rows)).bit_length() + 1


def test_json_text_of_what_has_several_kinds() -> None:
    assert json.loads(fitted({"a": [1]}, pa.string())) == {"a": [1]}
