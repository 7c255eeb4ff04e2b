"""What is small and becomes vast, or goes on for ever: refused, in a time that grows with its size alone."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.errors import DefinitionError, HeadraceError, SourceError
from headrace.spec.duration import seconds
from headrace.spec.redaction import masked
from headrace.stages.ingest._files import formats
from headrace.stages.ingest._files.formats import Source, read_table
from headrace.stages.ingest._http.addresses import Guard, is_public
from headrace.stages.ingest._http.answer import Answer, unpacked
from headrace.stages.ingest._http.bodies import open_body

FAIRLY_S = 2.0
"""No input of these tests may take longer; each took from five seconds to hours before."""


@pytest.fixture(autouse=True)
def a_limit_of_two_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "LEAST_LIMIT_BYTES", 2 << 20)
    monkeypatch.setattr(formats, "GROWTH", 10)


def written(write: Callable[[Any], None]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def parquet(table: pa.Table) -> bytes:
    return written(lambda file: pq.write_table(table, file, compression="zstd"))


def arrow(table: pa.Table, *, stream: bool) -> bytes:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    make = pa.ipc.new_stream if stream else pa.ipc.new_file

    def write(file: Any) -> None:
        with make(file, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=500_000)

    return written(write)


NUMBERS = pa.table({"a": pa.array([7] * 2_000_000, pa.int64())})
TEXTS = pa.table({"a": ["x" * 100_000] * 2_000})
BOMBS = {
    "a.parquet": parquet(NUMBERS),
    "texts.parquet": parquet(TEXTS),
    "file.arrow": arrow(NUMBERS, stream=False),
    "stream.arrow": arrow(NUMBERS, stream=True),
    "a.csv.gz": gzip.compress(b"a\n" + b"7\n" * 4_000_000),
    "a.jsonl.gz": gzip.compress(b'{"a": 7}\n' * 1_000_000),
    "a.txt.gz": gzip.compress(b"x" * 8_000_000),
}

NO_TEXTS = ("punycode", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "rot13", "hex")
CHARSETS = ("utf-8", "latin-1", "cp1252", "shift_jis", "utf-16", "gb18030", "koi8-r", "iso-8859-15")
HARD_TO_MASK = (
    "://" + ":" * 40_000,
    "://" * 20_000,
    "https://" + "a" * 40_000,
    "://a:" + "@" * 40_000,
    "password=" * 9000,
    "://a:b/" * 9000 + "@",
    "://a:b/" + "c@" * 40_000,
)
SHOWN = {
    "postgresql://u:p/w@host/db": "postgresql://u:***@host/db",
    "can't reach postgresql://u:p/w/@@x@host/db: no": "can't reach postgresql://u:***@host/db: no",
    "redis://:a/b@host:6379/0, s3://b/k": "redis://:***@host:6379/0, s3://b/k",
    '["amqp://u:p/w@h","mail@example.org"]': '["amqp://u:***@h","mail@example.org"]',
    "http://u[0:secret@host": "http://u[0:***@host",
}
ORDINARY = (
    "http://host:8080/~ann@example.org/a",
    "http://[::1]:8080/a@b",
    "mongodb://a:27017,b:27017/db?owner=ann@example.org",
    "https://example.org/a:b/c@d",
    "file://host:/a@b",
    "see https://example.org/x: ask ann@example.org",
    "https://example.org:443 or a/b@c",
)
NO_TIMES = (10**400, -(10**400), float("inf"), float("nan"), "9" * 400 + "s", "1" * 100_000, 10**20)
CLOUDS = ("169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254")


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_unpacks_to_far_more_than_it_is_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=f"`{name}` unpacks to more than") as caught:
        read_table(Source.of_bytes(name, BOMBS[name]), formats.format_of(name))
    assert "in parts" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "stream.arrow"])
def test_what_is_packed_as_well_as_data_are_is_read(name: str) -> None:
    table = pa.table({"a": pa.array(range(100_000)), "b": [str(n % 50) for n in range(100_000)]})
    data = parquet(table) if name == "a.parquet" else arrow(table, stream=name.startswith("stream"))
    assert read_table(Source.of_bytes(name, data), formats.format_of(name)).equals(table)


def test_a_dictionary_that_batches_share_counts_once() -> None:
    table = pa.table({"a": pa.array(["x" * 1000, "y" * 1000] * 50_000).dictionary_encode()})
    read_table(Source.of_bytes("a.arrow", arrow(table, stream=True)), "arrow")


def answer(charset: str, body: bytes) -> Answer:
    return Answer(
        url="http://a.example", status=200, headers={"content-type": f"text/csv; charset={charset}"}, body=body
    )


@pytest.mark.parametrize("charset", NO_TEXTS)
def test_a_charset_that_is_no_encoding_of_texts_is_refused_at_once(charset: str) -> None:
    start = time.perf_counter()
    with pytest.raises(SourceError, match=f"says that its answer is in `{charset}`"):
        open_body(answer(charset, b"a-" + b"z" * 200_000), "csv", None)
    assert time.perf_counter() - start < FAIRLY_S


@pytest.mark.parametrize("charset", CHARSETS)
def test_charsets_that_services_answer_in_are_read(charset: str) -> None:
    assert open_body(answer(charset, "a\n1\n".encode(charset)), "csv", None).data == b"a\n1\n"


def test_a_body_without_end_ends_with_an_error() -> None:
    now = [0.0]

    def drip() -> Any:
        while True:
            now[0] += 50.0
            yield b"x"

    response = httpx.Response(200, content=drip())
    with pytest.raises(SourceError, match=r"answered with 24 bytes in 1,200 s, and wasn't finished"):
        unpacked(response, "http://a.example", 1 << 20, within_s=1200.0, clock=lambda: now[0])


@pytest.mark.parametrize("text", HARD_TO_MASK, ids=range(len(HARD_TO_MASK)))
def test_secrets_are_masked_in_a_time_that_grows_with_the_text(text: str) -> None:
    start = time.perf_counter()
    masked(text)
    assert time.perf_counter() - start < FAIRLY_S


@pytest.mark.parametrize(("text", "shown"), SHOWN.items(), ids=range(len(SHOWN)))
def test_a_password_with_signs_that_end_it_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("text", ORDINARY, ids=range(len(ORDINARY)))
def test_what_only_looks_like_a_password_is_shown(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("value", NO_TIMES, ids=range(len(NO_TIMES)))
def test_a_time_that_none_is_is_one_clear_error(value: Any) -> None:
    start = time.perf_counter()
    with pytest.raises(DefinitionError, match="`timeout` is") as caught:
        seconds(value)
    assert len(caught.value.message) < 200
    assert time.perf_counter() - start < FAIRLY_S


@pytest.mark.parametrize("address", [*CLOUDS, "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254%eth0"])
def test_where_clouds_give_out_credentials_no_name_leads(address: str) -> None:
    assert not is_public(address)
    assert not is_public(f"::ffff:{address}" if ":" not in address else address)
    guard = guarded("a.example", address)
    with pytest.raises(HeadraceError, match=f"`a.example` is {address}"):
        guard.handle_request(httpx.Request("GET", "http://a.example/"))


def guarded(allowed: str, address: str) -> Guard:
    """Return a transport in which each name has this address, and one host may be private."""
    return Guard(
        lambda: httpx.MockTransport(lambda _: httpx.Response(200)), allowed=(allowed,), resolver=lambda *_: [address]
    )


def test_a_private_address_is_allowed_to_the_host_that_was_named_and_to_no_other() -> None:
    guard = guarded("near.example", "10.0.0.7")
    assert guard.handle_request(httpx.Request("GET", "http://near.example/")).status_code == 200
    with pytest.raises(SourceError, match=r"`other.example` is 10\.0\.0\.7"):
        guard.handle_request(httpx.Request("GET", "http://other.example/"))
