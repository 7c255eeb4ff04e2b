"""`ingest.http` as a plain function, against real servers that behave well, badly, and strangely."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.errors import DefinitionError, SourceError
from headrace.stages import ingest
from headrace.stages.ingest._http.addresses import Guard, is_public
from headrace.stages.ingest._http.answer import retry_after
from headrace.stages.ingest._http.caller import Caller
from headrace.stages.ingest._http.limits import Manners, rate_of
from headrace.stages.ingest._http.pages import find
from headrace.stages.ingest._http.pagination import Changed, Walk, Wanted
from headrace.stages.ingest._http.redaction import Veil
from tests.servers.missing import Missing
from tests.servers.web import Answers, Asked, Reply, Web, certificate, numbered, serving, told


def http(web: Web, path: str = "/rows", **more: Any) -> pa.Table:
    return ingest.http(web.url + path, allow_private=True, **more)


def refused(answers: Answers, **more: Any) -> str:
    """Read a service that can't be read; return the error with its hint."""
    with serving(answers) as web, pytest.raises(SourceError) as raised:
        http(web, **more)
    assert raised.value.hint
    return f"{raised.value.message}\n{raised.value.hint}"


def test_a_list_of_objects_is_a_table_with_types() -> None:
    rows = [{"id": 1, "at": "2026-01-02T03:04:05Z", "x": None}, {"id": 2, "at": None, "x": 1.5, "late": {"by": 3}}]
    with serving(lambda _: told(rows)) as web:
        table = http(web)
    assert table.schema.names == ["id", "at", "x", "late"]
    assert table.to_pylist()[1]["late"] == {"by": 3}
    assert pa.types.is_timestamp(table.schema.field("at").type)


def test_a_schema_decides_the_types_and_the_columns() -> None:
    schema = pa.schema([("id", pa.int8()), ("x", pa.string())])
    with serving(lambda _: told([{"id": 1, "y": 2}])) as web:
        assert http(web, schema=schema).schema == schema


def test_pages_by_number_end_at_an_empty_one() -> None:
    with serving(numbered(7, 3)) as web:
        table = http(web, paginate="page", rows="data", params={"q": "all"})
        assert table["id"].to_pylist() == list(range(7))
        assert [each.params for each in web.asked] == [{"q": "all", "page": str(n)} for n in (1, 2, 3, 4)]


def test_pages_by_offset_count_the_rows() -> None:
    def answers(asked: Asked) -> Reply:
        start = int(asked.params["from"])
        return told([{"id": each} for each in range(start, min(start + 4, 10))])

    with serving(answers) as web:
        assert http(web, paginate=ingest.Pages(by="offset", param="from")).num_rows == 10
        assert [each.params["from"] for each in web.asked] == ["0", "4", "8", "10"]


def test_pages_by_cursor_go_on_until_there_is_none() -> None:
    after = {None: ("b", 1), "b": ("c", 2), "c": (None, 3)}

    def answers(asked: Asked) -> Reply:
        cursor, row = after[asked.params.get("after")]
        return told({"items": [{"id": row}], "meta": {"next": cursor}})

    with serving(answers) as web:
        pages = ingest.Pages(by="cursor", at="meta.next", param="after")
        assert http(web, paginate=pages, rows="items")["id"].to_pylist() == [1, 2, 3]


def test_one_page_without_the_place_of_a_cursor_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda _: told({"items": [{"id": 1}], "meta": {"after": None}})) as web:
        assert http(web, paginate=ingest.Pages(by="cursor", at="meta.after"), rows="items").num_rows == 1
        assert capsys.readouterr().err == ""
        assert http(web, paginate=ingest.Pages(by="cursor", at="meta.aftr"), rows="items").num_rows == 1
    assert "/rows` has no `meta.aftr`, so it was treated as the only page" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": "pages"}, "`by` of `Pages` is 'pages'"),
        ({}, "`Pages` needs `by`"),
        ({"by": "page", "first": "1"}, "`first` of `Pages` is '1'"),
        ({"by": "page", "at": "meta.next"}, "`at` has no effect with pages by 'page'"),
        ({"by": "next", "param": "page"}, "`param` has no effect with pages by 'next'"),
    ],
)
def test_pages_that_make_no_sense_are_refused_where_they_are_written(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        ingest.Pages(**given)
    assert said in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("where", ["header", "body", "relative"])
def test_pages_by_next_link(where: str) -> None:
    def answers(asked: Asked) -> Reply:
        number = int(asked.params.get("p", "1"))
        link = None if number == 3 else f"{web.url}/rows?p={number + 1}"
        if where == "header":
            more = {} if link is None else {"Link": f'<{web.url}/>; rel="first", <{link}>; rel="next"'}
            return told({"data": [{"id": number}]}, **more)
        if where == "relative" and link is not None:
            link = f"?p={number + 1}"
        return told({"data": [{"id": number}], "links": {"next": link}})

    with serving(answers) as web:
        assert http(web, paginate="next", rows="data")["id"].to_pylist() == [1, 2, 3]


def test_pages_that_lead_in_a_circle_are_named() -> None:
    def answers(asked: Asked) -> Reply:
        number = int(asked.params.get("p", "1"))
        return told({"data": [{"id": number}], "next": f"/rows?p={number % 3 + 2}"})

    assert "page 4 of" in (text := refused(answers, paginate="next", rows="data"))
    assert "leads back to page 2" in text
    assert "more than 2 pages" in refused(numbered(9, 1), paginate="page", rows="data", max_pages=2)


def test_csv_json_lines_parquet_and_arrow() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    ipc = pa.BufferOutputStream()
    with pa.ipc.new_stream(ipc, table.schema) as writer:
        writer.write_table(table)
    bodies = {
        "csv": b"a,b\n1,x\n2,y\n",
        "jsonl": b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n',
        "parquet": sink.getvalue().to_pybytes(),
        "arrow": ipc.getvalue().to_pybytes(),
    }
    with serving(lambda asked: Reply(bodies[asked.path[1:]])) as web:
        for form in bodies:
            assert http(web, f"/{form}", format=form).equals(table), form


def test_csv_in_pages_is_one_table() -> None:
    def answers(asked: Asked) -> Reply:
        return Reply({"1": b"a\n1\n", "2": b"a\n2\n"}.get(asked.params["page"], b"a\n"))

    with serving(answers) as web:
        assert http(web, paginate="page", format="csv")["a"].to_pylist() == [1, 2]


def test_no_rows_are_a_table_without_rows() -> None:
    with serving(lambda asked: told([]) if asked.path == "/rows" else Reply(b"", 204)) as web:
        assert http(web).num_rows == 0
        assert http(web, "/none", schema=pa.schema([("a", pa.int64())])).schema.names == ["a"]


def test_a_column_that_changes_its_type_is_named() -> None:
    def answers(asked: Asked) -> Reply:
        return told({"data": [{"id": {"1": 1, "2": "two"}.get(asked.params["page"])}] * (asked.params["page"] < "3")})

    text = refused(answers, paginate="page", rows="data")
    assert "column `id` changed from number to string" in text
    assert "schema=" in text


# ---- who is in trouble, and who is asked too often


def flaky(*first: Reply) -> Answers:
    """Answer so at first, then well."""
    return lambda asked: first[asked.number] if asked.number < len(first) else told([{"id": 1}])


class Time:
    """A clock that goes on by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def calling(answers: Callable[[httpx.Request], httpx.Response], **more: Any) -> tuple[Caller, Time]:
    time = Time()
    transport = httpx.MockTransport(answers)
    return Caller("https://a.example", Manners(**more), transport=transport, clock=time, sleep=time.sleep), time


def answered(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b""))


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    date = {"Date": formatdate(0, usegmt=True), "Retry-After": formatdate(9, usegmt=True)}
    replies = [
        answered(429, headers={"Retry-After": "7"}),
        answered(503, headers=date),
        answered(200),
    ]
    caller, time = calling(lambda _: replies.pop(0))
    assert caller.ask("https://a.example").status == 200
    assert time.slept == [7.0, 9.0]


def test_trouble_is_met_with_longer_and_longer_waits_and_then_told() -> None:
    caller, time = calling(lambda _: answered(500), retries=4)
    with pytest.raises(SourceError, match="answered 500 Internal Server Error, asked 5 times"):
        caller.ask("https://a.example")
    assert len(time.slept) == 4
    assert all(0.25 * 2**n <= slept <= 0.5 * 2**n for n, slept in enumerate(time.slept))


def test_a_wait_longer_than_our_patience_is_told() -> None:
    caller, time = calling(lambda _: answered(429, headers={"Retry-After": "4000"}))
    with pytest.raises(SourceError, match="says to come back in 4,000 s"):
        caller.ask("https://a.example")
    assert time.slept == []


def test_a_rate_is_kept() -> None:
    caller, time = calling(lambda _: answered(200), rate=4.0)
    for _ in range(9):
        caller.ask("https://a.example")
    assert time.now == pytest.approx(2.0)


@given(st.text(max_size=40))
def test_whatever_retry_after_says_is_a_time_or_nothing(text: str) -> None:
    found = retry_after({"retry-after": text})
    assert found is None or found >= 0


@pytest.mark.parametrize("text", ["fast", "10", "0/s", "-1/s", "1/week", 0, float("nan")])
def test_a_rate_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(DefinitionError):
        rate_of(text)


def test_a_real_server_in_trouble_is_asked_again() -> None:
    busy = Reply(b"later", 429, {"Retry-After": "0"})
    cut = Reply(b'[{"id"', 200, {"Content-Type": "application/json"}, length=4000)
    with serving(flaky(busy, busy, cut)) as web:
        assert http(web).num_rows == 1


def test_a_server_that_is_silent_or_away_is_named() -> None:
    def answers(asked: Asked) -> Reply:
        time.sleep(0.3)  # the server's, longer than our timeout
        return told([])

    assert "gave no answer within 0.05 s" in refused(answers, timeout=0.05, retries=0)
    with serving(told) as web:  # type: ignore[arg-type]  # never asked
        url = web.url
    with pytest.raises(SourceError, match="can't be reached"):
        ingest.http(url, allow_private=True, retries=0)


# ---- what is not what was expected


def test_html_in_the_place_of_json_is_told_with_its_title() -> None:
    page = Reply(b"<!DOCTYPE html><html><title>Sign in\n here</title>", 200, {"Content-Type": "text/html"})
    assert "a page of HTML (`Sign in here`), not with `json`" in refused(lambda _: page)
    hidden = page._replace(headers={"Content-Type": "application/json"})
    assert "a page of HTML" in refused(lambda _: hidden)


def test_another_content_is_refused() -> None:
    assert "answered with `image/png`" in refused(lambda _: Reply(b"\x89PNG", 200, {"Content-Type": "image/png"}))
    assert "isn't JSON (text/csv)" in refused(lambda _: Reply(b"a,b\n1,2\n", 200, {"Content-Type": "text/csv"}))
    assert "sent an empty answer" in refused(lambda _: Reply(b""))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_named(number: str) -> None:
    said = refused(lambda _: Reply(f'[{{"id": {number}}}]'.encode(), 200, {"Content-Type": "application/json"}))
    assert f"answered with a number `{number.strip('-')}`, which JSON doesn't have" in said
    assert "jsonl" not in said


def test_where_the_rows_are_is_asked_for() -> None:
    answer = {"meta": {}, "result": {"rows": [{"a": 1}]}}
    assert 'rows="result.rows"' in refused(lambda _: told(answer))
    with serving(lambda _: told(answer)) as web:
        assert http(web, rows="result.rows").to_pylist() == [{"a": 1}]
    assert "row 1 of" in refused(lambda _: told([{"a": 1}, 2]))


def test_one_object_beside_lists_of_rows_is_taken_for_a_row_and_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda _: told({"meta": {"count": 2, "tags": [1]}, "items": [{"a": 1}, {"a": 2}]})) as web:
        assert http(web, rows="meta").num_rows == 1
    said = capsys.readouterr().err
    assert "`meta` of `" in said
    assert 'is one object, so it was taken for a single row; lists are at rows="items"' in said
    with serving(lambda _: told({"meta": {"count": 2, "tags": [1]}})) as web:
        assert http(web, rows="meta").num_rows == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("status", "hint"), [(401, "auth"), (403, "rights"), (404, "URL"), (418, "says")])
def test_a_refusal_is_told_with_what_the_service_says(status: int, hint: str) -> None:
    text = refused(lambda _: told({"error": "no such thing"}, status))
    assert str(status) in text
    assert "no such thing" in text
    assert hint in text.partition("\n")[2]


def test_a_body_over_the_limit_is_not_read() -> None:
    big = b"[" + b" " * 3_000_000 + b"]"
    assert "3,000,002 bytes over the limit of 1 MiB" in refused(lambda _: Reply(big), limit_mib=1)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < 1 << 20
    assert "over the limit of 1 MiB" in refused(lambda _: Reply(bomb, 200, {"Content-Encoding": "gzip"}), limit_mib=1)
    assert "answered in the encoding `br`" in refused(lambda _: Reply(b"..", 200, {"Content-Encoding": "br"}))
    assert "can't be unpacked as `gzip`" in refused(lambda _: Reply(b"[]", 200, {"Content-Encoding": "gzip"}))


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_compressed_body_is_unpacked(name: str) -> None:
    pack = gzip.compress if name == "gzip" else zlib.compress
    with serving(lambda _: Reply(pack(b'[{"a":1}]'), 200, {"Content-Encoding": name})) as web:
        assert http(web).num_rows == 1


def test_a_body_of_several_packed_ones_is_unpacked_to_its_end() -> None:
    whole = gzip.compress(b'[{"a":1}') + gzip.compress(b',{"a":2}]')
    for body in (whole, whole + b"\0" * 9):
        with serving(lambda _, body=body: Reply(body, 200, {"Content-Encoding": "gzip"})) as web:  # type: ignore[misc]
            assert http(web)["a"].to_pylist() == [1, 2]
    assert "can't be unpacked as `gzip`" in refused(lambda _: Reply(whole + b"more", 200, {"Content-Encoding": "gzip"}))


def test_text_in_another_encoding_is_taken_as_its_type_says() -> None:
    def answers(asked: Asked) -> Reply:
        name = asked.params["in"]
        body = '[{"a": "Zoë"}]'.encode("utf-8-sig" if name == "utf-8" else name.replace("none", "latin-1"))
        return Reply(body, 200, {"Content-Type": f'application/json; charset="{name}"'})

    with serving(answers) as web:
        for name in ("utf-8", "latin-1", "utf-16"):
            assert http(web, params={"in": name}).to_pylist() == [{"a": "Zoë"}]
        with pytest.raises(SourceError, match="says that its answer is in `none`"):
            http(web, params={"in": "none"})


def test_a_service_that_knows_no_head_is_asked_by_get() -> None:
    def answers(asked: Asked) -> Reply:
        return Reply(b"", 500) if asked.method == "HEAD" else told([{"id": 1}], ETag='"a"')

    with serving(answers) as web:
        assert http(web).num_rows == 1
        assert web.times(method="HEAD") == 1


# ---- where requests go


@pytest.mark.parametrize(("status", "after"), [(429, "3600"), (501, "3600"), (503, "0")])
def test_a_service_that_asks_by_head_to_wait_is_not_asked_by_get_before(status: int, after: str) -> None:
    def answers(asked: Asked) -> Reply:
        return Reply(b"", status, {"Retry-After": after}) if asked.method == "HEAD" else told([{"id": 1}])

    with serving(answers) as web:
        if status == 429:
            with pytest.raises(SourceError, match="answered 429 Too Many Requests, and says to come back in 3,600 s"):
                http(web)
        else:
            assert http(web).num_rows == 1
        assert (web.times(method="HEAD"), web.times()) == (1, 0 if status == 429 else 2)


def test_after_head_a_service_is_given_the_time_that_it_asks_for() -> None:
    caller, time = calling(lambda _: answered(503, headers={"Retry-After": "7"}))
    caller.heed(caller.ask("https://a.example", method="HEAD", once=True))
    assert time.slept == [7.0]


def test_redirects_are_followed_and_those_without_end_are_named() -> None:
    def answers(asked: Asked) -> Reply:
        if asked.path == "/rows":
            return Reply(b"", 302, {"Location": "/a"})
        if asked.path == "/good":
            return Reply(b"", 307, {"Location": "/there?x=1"})
        if asked.path == "/there":
            return told([{"id": 1}])
        if asked.path.startswith("/far"):
            return Reply(b"", 302, {"Location": f"/far{asked.number}"})
        return Reply(b"", 302, {"Location": {"/a": "/b", "/b": "/a"}[asked.path]})

    with serving(answers) as web:
        assert http(web, "/good").num_rows == 1
        with pytest.raises(SourceError) as raised:
            http(web)
        assert raised.value.message == f"an endless redirect: from `{web.url}/a` to `{web.url}/b` to `{web.url}/a`"
        with pytest.raises(SourceError, match="redirected more than 20 times"):
            http(web, "/far")


def test_what_proves_our_right_stays_with_the_service() -> None:
    with serving(lambda _: told([{"id": 1}])) as other:

        def answers(asked: Asked) -> Reply:
            if asked.path == "/own":
                return told([{"id": 1}])
            return Reply(b"", 302, {"Location": f"{other.url}/x" if asked.path == "/rows" else "/own"})

        with serving(answers) as web:
            http(web, auth="s3cret", headers={"X-Key": "s3cret"})
            http(web, "/home", auth="s3cret", headers={"X-Key": "s3cret"})
            http(web, "/own", auth=("me", "s3cret"))
            assert all("Authorization" in each.headers for each in web.asked)
            assert web.asked[1].headers["X-Key"] == "s3cret"
            assert web.asked[-1].headers["Authorization"].startswith("Basic ")
        assert other.asked
        assert not any("s3cret" in str(each.headers) for each in other.asked)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b:1::1",
        "fec0::1",
    ],
)
def test_an_address_that_is_not_of_the_open_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_an_address_of_the_open_internet_is_not(address: str) -> None:
    assert is_public(address)


def test_a_private_address_is_refused_however_it_is_written_and_wherever_it_comes_from() -> None:
    with serving(lambda _: told([])) as web:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
            with pytest.raises(SourceError, match="a private address was refused"):
                ingest.http(f"http://{host}:{web.port}/", retries=0)
        assert web.asked == []


def test_each_hop_is_judged_and_a_name_is_looked_up_once_for_each() -> None:
    gone: list[httpx.Request] = []

    def inner(request: httpx.Request) -> httpx.Response:
        gone.append(request)
        return httpx.Response(302, headers={"Location": "https://inside.example/"})

    looked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        looked.append(host)
        # the second answer for a name is the trap: a client that asks again connects to it
        return ["10.0.0.1"] if host == "inside.example" or looked.count(host) > 1 else ["93.184.216.34"]

    guard = Guard(lambda: httpx.MockTransport(inner), resolver=resolver)
    with pytest.raises(SourceError, match=r"`inside.example` is 10\.0\.0\.1"):
        Caller("https://outside.example", Manners(), transport=guard).ask("https://outside.example/x")
    assert [(each.url.host, each.headers["Host"]) for each in gone] == [("93.184.216.34", "outside.example")]
    assert gone[0].extensions["sni_hostname"] == "outside.example"
    assert looked == ["outside.example", "inside.example"]


def test_a_host_with_one_private_address_among_others_is_refused() -> None:
    guard = Guard(lambda: httpx.MockTransport(lambda _: httpx.Response(200)), resolver=lambda *_: ["1.1.1.1", "::1"])
    with pytest.raises(SourceError, match="private address"):
        Caller("https://a.example", Manners(), transport=guard).ask("https://a.example")


def test_a_proxy_looks_names_up_and_addresses_are_judged_all_the_same() -> None:
    with serving(lambda asked: told([{"id": 1}])) as web:
        table = ingest.http("http://only-the-proxy-knows.example/rows", proxy=web.url)
        assert table.num_rows == 1
        assert {each.headers["Host"] for each in web.asked} == {"only-the-proxy-knows.example"}
        with pytest.raises(SourceError, match="private address was refused"):
            ingest.http("http://10.0.0.1/rows", proxy=web.url)


def test_a_certificate_that_no_one_signed_is_refused_unless_it_is_given(tmp_path: Path) -> None:
    try:
        context, path = certificate(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))
    with serving(lambda _: told([{"id": 1}]), context) as web:
        with pytest.raises(SourceError, match=r"the certificate of `127.0.0.1:\d+` isn't valid: self-signed"):
            http(web)
        assert http(web, verify=str(path)).num_rows == 1
        assert http(web, verify=False).num_rows == 1
        with pytest.raises(SourceError, match="can't be read"):
            http(web, verify=str(tmp_path / "none.pem"))
    with serving(lambda _: told([])) as plain, pytest.raises(SourceError, match="no TLS with"):
        ingest.http(plain.url.replace("http:", "https:"), allow_private=True, retries=0)


@given(st.lists(st.text(), max_size=4), st.text())
def test_what_is_hidden_in_what_is_kept_comes_back(words: list[str], url: str) -> None:
    veil = Veil(words)
    data = msgspec.json.encode({"url": url, "params": words})
    hidden = veil.hide(data)
    assert veil.show(hidden) == data
    for word in words:
        if word and word not in '":,[]{}urlparams':
            assert msgspec.json.encode(word)[1:-1] not in hidden


def test_among_many_words_the_short_one_is_hidden_too() -> None:
    veil = Veil([*(f"a long word, {number}" for number in range(1200)), "s3c"])
    data = msgspec.json.encode([f"a long word, {number}" for number in range(1200)] + ["s3c"])
    assert b"s3c" not in veil.hide(data)
    assert b"long" not in veil.hide(data)
    assert veil.show(veil.hide(data)) == data


@given(st.text() | st.from_regex(r"(https?|file)://[^/]*/.*"))
def test_whatever_is_told_as_the_next_page_is_asked_or_refused(link: str) -> None:
    def inner(request: httpx.Request) -> httpx.Response:
        first = str(request.url) == "https://a.example/"
        body = json.dumps({"data": [{"id": 1}], "next": link if first else None}).encode()
        return httpx.Response(200, stream=httpx.ByteStream(body))

    guard = Guard(lambda: httpx.MockTransport(inner), resolver=lambda *_: ["93.184.216.34"])
    wanted = Wanted(
        url="https://a.example/",
        params={},
        pages=ingest.Pages(by="next", at="next"),
        format="json",
        rows="data",
        key=(),
        limit=9,
        secret=False,
    )
    with suppress(SourceError):
        assert len(Walk(Caller(wanted.url, Manners(retries=0), transport=guard), wanted).pages()) in (1, 2)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "http://[::1",
        "http://a:b/",
        "file:///etc/passwd",
        "data.csv",
        "https://me:pw@a.example/",
        "http://",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        ingest.http(url)
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"params": {"n": object()}}, "parameter `n` in `params` is a `object`"),
        ({"params": {"n": 1j}}, "parameter `n` in `params` is a `complex`"),
        ({"params": {"n": [1, {"a": 1}]}}, "parameter `n` in `params` is a `dict`"),
        ({"params": {1: 2}}, "`params` has a name that is a `int`"),
        ({"params": "n=1"}, "`params` is a `str`"),
        ({"headers": {"x": "a\r\nset-cookie: b"}}, "the header `x` has a line break in it"),
        ({"headers": {"x": "a\0b"}}, "the header `x` has a control character in it"),
        ({"headers": {"x": "Zoë"}}, "the header `x` has a character that isn't ASCII in it"),
        ({"headers": {"x": 3}}, "the header `x` is a `int`"),
        ({"headers": {"x: y": "a"}}, "is not a name of a header"),
        ({"auth": "a\nb"}, "the token in `auth` has a line break in it"),
        ({"auth": 3}, "the token in `auth` is a `int`"),
        ({"auth": ("a", "b", "c")}, "a pair must be a user and a password"),
        ({"paginate": 3}, "paginate=3 is not known"),
        ({"max_pages": 0}, "max_pages=0"),
        ({"retries": -1}, "retries=-1"),
        ({"limit_mib": "much"}, "limit_mib='much'"),
        ({"timeout": -1}, "`timeout` is -1"),
        ({"rate": [1]}, "is not a rate"),
        ({"proxy": 3}, "`proxy` is not a URL"),
        ({"rows": 3}, "`rows` of `ingest.http` is 3"),
        ({"key": 3}, "`key` of `ingest.http` is 3"),
        ({"schema": 3}, "`schema` can't be used"),
        ({"allow_private": "no"}, "`allow_private` of `ingest.http` is 'no'"),
    ],
)
def test_what_can_not_be_sent_or_meant_is_refused_before_anything_is_asked(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        ingest.http("https://a.example/", **options)
    assert told in raised.value.message
    assert raised.value.hint


def test_what_a_secret_forges_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hush\r\nX-Other: 1")
    with pytest.raises(SourceError) as raised:
        ingest.http("https://a.example/", headers={"X-Key": hr.secret("TOKEN")})
    assert "the header `X-Key` has a line break in it" in raised.value.message
    assert "hush" not in str(raised.value)


def test_parameters_are_sent_as_text_numbers_times_and_lists() -> None:
    params: dict[str, Any] = {"t": "a b", "n": 1.5, "yes": True, "l": [1, 2], "none": None}
    params |= {"day": dt.date(2026, 1, 2), "at": dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)}
    params |= {"d": Decimal("1.50"), "u": UUID(int=1), "f": np.float32(0.1), "g": np.float64(0.1)}
    params |= {"i": [np.int64(3)], "no": np.bool_(False)}
    with serving(lambda _: told([{}])) as web:
        http(web, params=params)
    sent = {"t": "a b", "n": "1.5", "yes": "true", "l": "1", "day": "2026-01-02", "at": "2026-01-02T03:00:00+00:00"}
    sent |= {"d": "1.50", "u": "00000000-0000-0000-0000-000000000001", "f": "0.1", "g": "0.1", "i": "3", "no": "false"}
    assert web.asked[-1].params == sent


# ---- what changes while it is read


def test_a_row_that_comes_on_two_pages_starts_the_reading_anew() -> None:
    reads = [0]

    def answers(asked: Asked) -> Reply:
        number = int(asked.params["page"])
        reads[0] += number == 1
        shifted = reads[0] == 1 and number == 2  # while the first reading went on, a row came in before all others
        start = (number - 1) * 3 - shifted
        return told({"data": [{"id": each} for each in range(start, min(start + 3, 8))]})

    with serving(answers) as web:
        assert http(web, paginate="page", rows="data", key="id")["id"].to_pylist() == list(range(8))
    assert reads[0] == 2


def test_what_never_stays_the_same_is_refused_and_says_why() -> None:
    def answers(asked: Asked) -> Reply:
        return told({"data": [{"id": 7}] if asked.params["page"] < "3" else []})

    text = refused(answers, paginate="page", rows="data", key="id")
    assert "was read 3 times over, and each time the row with `id` 7 is on pages 1 and 2" in text
    assert "set `key` to the fields that identify a row" in text
    assert "check `paginate`" in text

    readings = iter(range(100))

    def moving(asked: Asked) -> Reply:
        return told({"data": [{"id": next(readings) // 2}] if asked.params["page"] < "4" else []})

    assert "changed while it was read, 3 times over: the row with `id` " in refused(
        moving, paginate="page", rows="data", key="id"
    )


@pytest.mark.parametrize("paginate", ["page", None])
def test_a_key_that_several_rows_of_one_page_have_is_none_and_no_change(paginate: Any) -> None:
    rows = [{"id": 1, "energy": "A"}, {"id": 2, "energy": "C"}, {"id": 3, "energy": "C"}]
    text = refused(lambda _: told({"data": rows}), paginate=paginate, rows="data", key="energy")
    assert "several rows on page 1 of" in text
    assert '`energy` "C", so the key doesn\'t identify rows' in text
    assert "changed" not in text


@pytest.mark.parametrize(
    ("by", "at", "place"),
    [("cursor", "meta.aftr", "meta.aftr"), ("next", "meta.nxt", "meta.nxt"), ("next", "", "next")],
)
def test_a_place_of_the_next_page_that_is_not_there_is_no_change(by: Any, at: str, place: str) -> None:
    answer = {"data": [{"id": 1}], "meta": {"count": 5, "after": "1"}}
    text = refused(lambda _: told(answer), paginate=ingest.Pages(by=by, at=at, total="meta.count"), rows="data")
    assert f"has no `{place}" in text
    assert "it reports 5 rows and gave 1" in text
    assert "correct `at`" in text
    assert "changed" not in text


def test_a_total_that_changes_or_is_not_reached_is_a_change() -> None:
    pages = ingest.Pages(by="page", total="total")
    totals = iter(range(100))
    moving = refused(lambda asked: told({"data": [{"id": 1}], "total": next(totals)}), paginate=pages, rows="data")
    assert "page 1 reports 4 rows, page 2 reports 5" in moving

    def short(asked: Asked) -> Reply:
        return told({"data": [{"id": 1}] if asked.params["page"] == "1" else [], "total": 2})

    assert "it reports 2 rows and gave 1" in refused(short, paginate=pages, rows="data")


def test_a_total_or_a_key_that_is_not_there_is_no_change() -> None:
    def answers(asked: Asked) -> Reply:
        return told({"data": [{"id": 1}] if asked.params["page"] < "3" else []})

    assert "has no number of rows at `count`" in refused(
        answers, paginate=ingest.Pages(by="page", total="count"), rows="data"
    )
    assert "a row on page 1 of" in refused(answers, paginate="page", rows="data", key="idd")


@pytest.mark.parametrize("sign", ["", "ETag", "Last-Modified"])
@pytest.mark.parametrize("moves", [False, True])
def test_what_was_kept_is_taken_only_with_the_first_page_that_it_began_with(sign: str, moves: bool) -> None:
    state = {"ends": 3, "id": 0}

    def answers(asked: Asked) -> Reply:
        number = int(asked.params["page"])
        if number == state["ends"]:
            return told({}, 500)
        rows = [{"id": state["id"] + number}] if number < 5 else []
        signs = {"ETag": f'"{state["id"]}"', "Last-Modified": formatdate(1e9 + state["id"], usegmt=True)}
        return told({"data": rows, "asked": asked.number}, **({sign: signs[sign]} if sign else {}))

    kept: list[pa.Table] = []
    pages = ingest.Pages(by="page")
    with serving(answers) as web, Caller(web.url, Manners(retries=0, allow_private=True)) as caller:
        wanted = Wanted(
            url=f"{web.url}/rows",
            params={},
            pages=pages,
            format="json",
            rows="data",
            key=("id",),
            limit=9,
            secret=False,
        )
        with pytest.raises(SourceError):
            Walk(caller, wanted, keep=lambda tables: kept.append(pa.concat_tables(tables))).pages()
        state |= {"ends": 9, "id": 70 * moves}
        before = len(web.asked)
        walk = Walk(caller, wanted, kept=kept[-1])
        if moves:
            with pytest.raises(Changed, match="its first page is not the one that was read"):
                walk.pages()
        else:
            assert [json.loads(page.data)["id"] for page in walk.pages() if page.data] == [1, 2, 3, 4]
        assert web.asked[before].params["page"] == "1"


def test_a_first_page_that_has_another_tag_in_the_end_is_a_change() -> None:
    tag = ["one"]

    def answers(asked: Asked) -> Reply:
        if asked.params["page"] == "2" and asked.number < 4:
            tag[0] = "two"
        return numbered(5, 2, etag=lambda: f'"{tag[0]}"')(asked)

    with serving(answers) as web:
        assert http(web, paginate="page", rows="data").num_rows == 5
        assert [each.params["page"] for each in web.asked] == ["1", "2", "3", "4", "1"] * 2
        assert "If-None-Match" in web.asked[-1].headers


# ---- the pure parts


@given(st.recursive(st.none() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)), st.text())
def test_a_path_finds_something_or_nothing(body: Any, path: str) -> None:
    find(body, path)
