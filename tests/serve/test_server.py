"""Whatever a client sends, it gets what is its own, within bounds of bytes and time; and a server that stops answers
what runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.serve.connection import Together
from headrace.serve.metrics import CONNECTIONS, Metrics
from headrace.serve.request import Limits
from headrace.serve.server import loopback
from tests.serve.site import BODY, DOUBLED, PATH, PATIENCE_S, Site, post, serving, until

SHORT_S = 0.8
SOON_S = 8.0
"""Less than the server's own patience."""
QUICK = Limits(body_bytes=1 << 20, head_s=SHORT_S, silence_s=SHORT_S, request_s=30, stop_s=1)
CHUNKED = post(b"", content_length="", transfer_encoding="chunked")


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    yield shared
    shared.double.is_held = False
    shared.double.asked.clear()
    shared.double.ends.clear()


@pytest.fixture(scope="module")
def shared_quick() -> Iterator[Site]:
    with serving(limits=QUICK) as site:
        yield site


@pytest.fixture
def quick(shared_quick: Site) -> Iterator[Site]:
    """A server with little patience."""
    yield shared_quick
    shared_quick.double.pad = ""
    shared_quick.double.asked.clear()
    shared_quick.double.ends.clear()


class Recorded(asyncio.Transport):
    """A transport that writes nothing, and records what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes] = []

    def writelines(self, data: Iterable[bytes]) -> None:  # type: ignore[override]  # only bytes are written here
        self.told.append(b"".join(data))

    def close(self) -> None:
        self.told.append(b"closed")


def test_the_head_of_an_answer_is_written_together_with_the_body_that_follows_at_once() -> None:
    async def written() -> list[bytes]:
        transport = Recorded()
        together = Together(transport, asyncio.get_running_loop())
        together.write(b"head ")
        together.write(b"body")
        together.write(b"late ")
        await asyncio.sleep(0)
        together.write(b"last")
        together.close()
        return transport.told

    assert asyncio.run(written()) == [b"head body", b"late ", b"last", b"closed"]


def test_a_server_gives_both_to_the_system_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bytes] = []

    class Told(Together):
        def _flush(self, body: bytes = b"") -> None:
            told.append(self._head + body)
            super()._flush(body)

    monkeypatch.setattr("headrace.serve.connection.Together", Told)
    assert site.post().json == DOUBLED
    [whole] = told
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.endswith(b"}")


def numbered(number: int) -> bytes:
    return post(b'{"records": [{"x": %d}]}' % number)


def test_requests_that_are_sent_ahead_are_answered_in_their_order(site: Site) -> None:
    with site.line() as line:
        line.say(b"".join(map(numbered, range(10))))
        assert [line.answer().json["predictions"][0]["y"] for _ in range(10)] == [2.0 * each for each in range(10)]


def test_requests_that_are_sent_byte_by_byte_are_answered(site: Site) -> None:
    with site.line() as line:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post() + post():
            line.say(bytes([byte]))
        assert [line.answer().json for _ in range(2)] == [DOUBLED, DOUBLED]


def test_too_many_requests_ahead_close_the_connection_once_those_before_are_answered(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post() * 100)
        until(lambda: site.double.asked)
        site.double.is_held = False
        line.socket.settimeout(SOON_S)
        assert [line.answer().json for _ in range(17)] == [DOUBLED] * 17
        assert line.is_closed()


def test_what_comes_after_a_request_and_is_none_keeps_no_answer_from_it(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post() + b"\0\0\0\0\r\n\r\n")
        until(lambda: site.double.asked)
        site.double.is_held = False
        line.socket.settimeout(SOON_S)
        assert line.answer().json == DOUBLED
        assert line.is_closed()


def test_what_comes_after_a_last_request_is_not_answered(site: Site) -> None:
    with site.line() as line:
        line.say(post(connection="close") + post())
        answer = line.answer()
        assert (answer.json, answer.headers["connection"]) == (DOUBLED, "close")
        assert line.is_closed()
    assert len(site.double.asked) == 1


def test_a_broken_body_behind_another_request_gets_no_answer_that_is_taken_for_the_other_one(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post())
        until(lambda: site.double.asked)
        line.say(CHUNKED + b"zz\r\n")
        assert line.is_closed()
        until(lambda: site.double.ends == ["cancelled"])


def test_a_client_may_ask_whether_its_body_is_wanted(site: Site) -> None:
    with site.line() as line:
        head, _, body = post(expect="100-continue").partition(b"\r\n\r\n")
        line.say(head + b"\r\n\r\n")
        assert line.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.say(body)
        assert line.answer().json == DOUBLED


def test_a_body_may_come_in_chunks(site: Site) -> None:
    with site.line() as line:
        line.say(CHUNKED)
        for byte in BODY:
            line.say(b"1;x=y\r\n" + bytes([byte]) + b"\r\n")
        line.say(b"0\r\n\r\n" + post())
        assert [line.answer().json for _ in range(2)] == [DOUBLED, DOUBLED]


@pytest.mark.parametrize(
    "data",
    [
        post(transfer_encoding="chunked"),
        post(b"", content_length="", transfer_encoding="chunked\r\ncontent-length: 5") + b"0\r\n\r\n",
        post(content_length=f"{len(BODY)}\r\ncontent-length: {len(BODY)}"),
        post(content_length=f"{len(BODY)}\r\ncontent-length: 1"),
        post(content_length=f"{len(BODY)}, {len(BODY)}"),
        post(content_length="-1"),
        post(content_length="+5"),
        post(content_length="0x5"),
        post(content_length="9" * 40),
        post(b"", content_length="", transfer_encoding="gzip, chunked") + b"0\r\n\r\n",
        post(b"", content_length="", transfer_encoding="chunked, identity") + b"0\r\n\r\n",
        post(b"", content_length="", transfer_encoding="xchunked") + b"0\r\n\r\n",
        post(b"", content_length="", transfer_encoding="identity"),
        post(b"", content_length="", transfer_encoding="chunked\r\ntransfer-encoding: chunked") + b"0\r\n\r\n",
        CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffffffffffff\r\n",
        CHUNKED + b"0\r\nx-forwarded-for: trailer\r\n\r\n",
        CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
        post(connection="upgrade", upgrade="websocket"),
        post(connection="upgrade, http2-settings", upgrade="h2c"),
        post(x_folded="a\r\n b"),
        post(x_nul="a\0b"),
        post(x_cr="a\rb"),
        post().replace(b"host:", b"host :"),
        post().replace(b"\r\n", b"\n"),
        post(path="/\xff"),
        b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda data: repr(data)[2:].replace(PATH, "")[:150],
)
def test_what_another_server_could_read_in_another_way_is_refused_and_the_connection_closed(
    site: Site, data: bytes
) -> None:
    with site.line() as line:
        line.say(data)
        answer = line.answer()
        assert answer.error == (400, "BadRequest")
        assert answer.headers["connection"] == "close"
        assert line.is_closed()
    assert not site.double.ends


@pytest.mark.parametrize(
    ("start", "data"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\n", b"a"),
        (b"GET / HTTP/1.1\r\na: ", b"a"),
        (b"GET / HTTP/1.1\r\n", b"a:\r\n"),
        (CHUNKED + b"0\r\n", b"a"),
        (CHUNKED + b"0\r\na: ", b"a"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED, b"0"),
    ],
)
def test_headers_without_end_close_the_connection_and_take_no_memory(site: Site, start: bytes, data: bytes) -> None:
    with site.line() as line:
        tracemalloc.start()
        try:
            assert line.flood([start, *[data * ((1 << 16) // len(data))] * 320])  # 20 MB
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
    assert site.post().status == 200


def test_what_follows_a_request_and_is_refused_takes_no_memory_while_the_request_runs(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        tracemalloc.start()
        try:
            assert not line.flood([post() + b"GET / HTTP/1.1\r\na: ", *[b"a" * (1 << 16)] * 320])
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        site.double.is_held = False
        line.socket.settimeout(PATIENCE_S)
        assert line.answer().json == DOUBLED
        assert line.is_closed()


def test_what_follows_a_refused_body_and_is_none_gets_no_second_answer(site: Site) -> None:
    with site.line() as line:
        line.say(CHUNKED + b"100001\r\n" + bytes(0x100001))
        assert line.answer().error == (413, "BodyTooLarge")
        line.say(b"zz\r\n")
        assert line.is_closed()


def test_headers_that_are_too_large_are_told(site: Site) -> None:
    assert site.post(x="a" * 60_000).status == 200
    assert site.post(x="a" * 70_000).error == (431, "HeadTooLarge")
    fields = {f"x{number}": "y" for number in range(10_000)}
    assert site.post(BODY, **fields).error == (431, "HeadTooLarge")


@pytest.mark.parametrize("data", [b"", b"P", post()[:40], post() + post()[:40]])
def test_a_head_that_is_begun_and_not_ended_is_closed_after_the_bound(quick: Site, data: bytes) -> None:
    with quick.line() as line:
        start = time.monotonic()
        line.say(data)
        if data.startswith(post()):
            assert line.answer().status == 200
        assert line.is_closed()
        assert SHORT_S * 0.9 < time.monotonic() - start < 30


def test_a_head_that_is_begun_on_a_connection_in_use_is_closed_after_the_bound(quick: Site) -> None:
    with quick.line() as line:
        line.say(post())
        assert line.answer().status == 200
        start = time.monotonic()
        line.say(post()[:40])
        assert line.is_closed()
        assert SHORT_S * 0.9 < time.monotonic() - start < 30


@pytest.mark.parametrize("data", [b"", b"\r\n"])
def test_a_connection_that_rests_is_closed_after_the_bound(data: bytes) -> None:
    with serving(limits=replace(QUICK, idle_s=2 * SHORT_S)) as site, site.line() as line:
        line.say(post())
        assert line.answer().status == 200
        start = time.monotonic()
        line.say(data)
        assert line.is_closed()
        assert SHORT_S * 1.8 < time.monotonic() - start < 30


def test_a_head_that_comes_slowly_is_closed_after_the_bound_too(quick: Site) -> None:
    with quick.line() as line:
        assert line.flood((bytes([byte]) for byte in post(x="a" * 1_000)), pause_s=SHORT_S / 20)


@pytest.mark.parametrize("data", [post()[:-1], CHUNKED, CHUNKED + b"5\r\nab", CHUNKED + b"1\r\na\r\n0\r\n"])
def test_a_body_that_does_not_go_on_is_refused_after_the_bound(quick: Site, data: bytes) -> None:
    with quick.line() as line:
        line.say(data)
        assert line.answer().error == (408, "BodyLate")
        assert line.is_closed()


def test_a_body_that_comes_too_slowly_is_refused_after_the_bound() -> None:
    with serving(limits=Limits(request_s=SHORT_S)) as site, site.line() as line:
        line.say(post(b"", content_length="1000"))
        while not line.has_heard():
            line.say(b" ")
            time.sleep(SHORT_S / 100)
        assert line.answer().error == (408, "BodyLate")


def test_a_body_that_is_refused_and_sent_without_end_is_cut_off(quick: Site) -> None:
    with quick.line() as line:
        line.say(post(b"", content_length=str(1 << 40)))
        assert line.answer().error == (413, "BodyTooLarge")
        start = time.monotonic()
        assert line.flood(bytes(1 << 16) for _ in iter(lambda: time.monotonic() - start < 30, False))


def test_a_client_that_takes_no_answer_is_closed_after_the_bound_and_holds_up_no_other(quick: Site) -> None:
    quick.double.pad = "a" * (1 << 23)
    with quick.line() as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        line.say(numbered(1) * 3)
        until(lambda: quick.double.ends)
        quick.double.pad = ""
        assert quick.post().json == DOUBLED
        until(lambda: not connections(quick))


def connections(site: Site) -> list[object]:
    """Return the connections to a server that are open on its side."""
    import psutil

    return [
        each
        for each in psutil.Process().net_connections("tcp")
        if each.laddr.port == site.port and each.status == psutil.CONN_ESTABLISHED
    ]


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    bound_s = 2.0
    with serving(limits=replace(QUICK, idle_s=bound_s, silence_s=bound_s)) as site, site.line() as line:
        site.double.pad = "a" * (1 << 22)
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        line.say(numbered(1))
        assert line.answer().status == 200
        site.double.pad = "a" * (1 << 23)
        line.say(numbered(1))
        taken, start = 0, time.monotonic()
        while taken < 1 << 23:
            time.sleep(bound_s / 60)
            taken += (count := len(line.socket.recv(1 << 16)))
            assert count
        assert time.monotonic() - start > bound_s


def test_a_client_that_leaves_has_the_request_that_runs_cancelled_and_those_behind_forgotten(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post() + post())
        until(lambda: site.double.asked)
    until(lambda: site.double.ends == ["cancelled"])
    site.double.is_held = False
    assert site.post().json == DOUBLED
    assert len(site.double.asked) == 2


def test_a_client_that_leaves_after_a_large_body_has_its_request_cancelled(site: Site) -> None:
    site.double.is_held = True
    body = BODY + b" " * 300_000
    with site.line() as line:
        line.say(post(body)[:100_000])
        time.sleep(0.05)
        line.say(post(body)[100_000:])
        until(lambda: site.double.asked)
    until(lambda: site.double.ends == ["cancelled"])


def test_a_body_that_its_client_left_is_not_taken_for_a_whole_one(site: Site) -> None:
    with site.line() as line:
        line.say(post(BODY + b" ")[:-1])
    until(lambda: not connections(site))
    assert site.post().json == DOUBLED
    assert len(site.double.asked) == 1


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, None])
def test_a_server_that_stops_answers_what_runs(new_loop: object) -> None:
    options = {"new_loop": new_loop} if new_loop else {}
    with serving(**options) as site, site.line() as idle, site.line() as half, site.line() as line:  # type: ignore[arg-type]
        idle.say(post())
        assert idle.answer().status == 200
        half.say(post()[:40])
        site.double.is_held = True
        line.say(post())
        until(lambda: len(site.double.asked) == 2)
        site.stop()
        assert idle.is_closed()
        assert half.is_closed()
        with pytest.raises(ConnectionError):
            site.post()
        assert not site.has_ended.is_set()
        site.double.is_held = False
        answer = line.answer()
        assert answer.json == DOUBLED
        assert answer.headers["connection"] == "close"
        assert site.has_ended.wait(30)


def test_a_server_that_stops_waits_no_longer_than_it_should_and_says_so_to_who_waits() -> None:
    with serving(limits=QUICK) as site, site.line() as line, site.line() as body:
        site.double.is_held = True
        line.say(post())
        body.say(post()[:-1])
        until(lambda: site.double.asked)
        site.stop()
        assert line.answer().error == (503, "Stopping")
        assert site.has_ended.wait(30)
        assert site.double.ends == ["cancelled"]


def test_a_server_that_stops_closes_a_client_that_takes_no_answer() -> None:
    with serving(limits=replace(QUICK, silence_s=60)) as site, site.line() as line:
        site.double.pad = "a" * (1 << 23)
        line.say(numbered(1))
        until(lambda: site.double.ends)
        site.stop()
        assert site.has_ended.wait(30)
        assert not connections(site)


def test_a_port_that_is_taken_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match=r"can't listen on port .* of `127.0.0.1`"),
    ):
        loopback(taken.getsockname()[1])


def test_a_client_for_whom_there_is_no_room_is_told_so_and_others_are_answered() -> None:
    with serving(limits=replace(QUICK, head_s=30.0, most_connections=2)) as site, site.line() as first:
        first.say(post())
        assert first.answer().json == DOUBLED
        with site.line() as second:
            second.say(post()[:30])
            until(lambda: site.metrics.reading().numbers[CONNECTIONS.name] == {(): 2})
            for _ in range(50):
                with site.line() as third:
                    refused = third.answer()
                    assert refused.error == (503, "ServerFull")
                    assert refused.headers["retry-after"] == "1"
                    assert third.is_closed()
            first.say(post())
            assert first.answer().json == DOUBLED
            second.say(post()[30:])
            assert second.answer().json == DOUBLED
        until(lambda: site.metrics.reading().numbers[CONNECTIONS.name] == {(): 1})
        assert site.post().json == DOUBLED


def test_signals_are_left_to_the_caller() -> None:
    from headrace.serve.access.access import Access
    from headrace.serve.app import App
    from headrace.serve.server import Server
    from tests.serve.site import Few

    async def serve() -> object:
        sockets = loopback(0)
        server = Server(App(Few(), Access.loopback(1), QUICK, Metrics()), sockets, QUICK)
        serving = asyncio.create_task(server.serve())
        reader, writer = await asyncio.open_connection(*sockets[0].getsockname())
        writer.write(post())
        await reader.readline()
        seen = signal.getsignal(signal.SIGTERM)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        return seen

    assert asyncio.run(serve()) == signal.getsignal(signal.SIGTERM)
