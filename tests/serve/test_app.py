"""Requests over real connections get predictions, or an error that says what to do, in JSON of one shape."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import time
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from headrace.errors import LogError, StoreError
from headrace.serve.access.access import Access
from headrace.serve.asking import ModelGone, ModelSlow, RowsRefused
from headrace.serve.exchange import Exchange
from headrace.serve.queue import ModelBusy
from headrace.serve.request import ARROW, Limits
from tests.serve.site import BODY, DOUBLED, PATH, Site, post, serving, until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    yield shared
    double = shared.double
    double.is_held, double.error, shared.endpoints.ready = False, None, True
    double.asked.clear()
    double.ends.clear()


def test_a_request_is_answered_with_a_prediction_for_each_record(site: Site) -> None:
    before = time.time()
    answer = site.post(traceparent=TRACE)
    assert (answer.status, answer.json) == (200, DOUBLED)
    assert answer.headers["content-type"] == "application/json"
    assert "server" not in answer.headers
    [asked] = site.double.asked
    assert (asked.body, asked.trace) == (BODY, TRACE)
    assert before <= asked.at <= time.time()


@pytest.mark.parametrize("trace", ["x", TRACE.upper(), f"{TRACE}\r\ntraceparent: {TRACE}"])
def test_a_trace_that_is_not_valid_is_left_out(site: Site, trace: str) -> None:
    assert site.post(traceparent=trace).status == 200
    assert site.double.asked[0].trace == ""


def test_a_server_says_that_it_lives_and_when_it_is_ready(site: Site) -> None:
    health, ready = post(b"", path="/health", method="GET"), post(b"", path="/ready?x=1", method="GET")
    assert site.ask(health).json == {"healthy": True}
    assert site.ask(ready).json == {"ready": True}
    with site.line() as line:
        line.say(post(b"", path="/health", method="HEAD", connection="close"))
        assert line.socket.makefile("rb").read().partition(b"\r\n\r\n")[2] == b""
    site.endpoints.ready = False
    assert site.ask(health).status == 200
    assert site.ask(ready).error == (503, "NotReady")
    assert site.post(path="/v1/endpoints/later/predict").error == (503, "NotReady")
    assert site.post(path="/v1/endpoints/never/predict").error == (404, "EndpointUnknown")
    assert site.post().status == 200


def test_records_that_do_not_fit_are_refused_with_all_that_is_wrong(site: Site) -> None:
    answer = site.post(b'{"records": [{"x": "1"}, {"z": 1}]}')
    assert answer.error == (422, "RecordsRefused")
    assert [(each["record"], each["field"]) for each in answer.json["faults"]] == [(0, "x"), (1, "x"), (1, "z")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"records": [{"x": NaN}]}',
        b'{"records": [{"x": Infinity}]}',
        b'{"records": [{"x": 1e999}]}',
        b'{"records": [{"\xff": 1}]}',
        b'{"records": ' + b"[" * 100_000,
        b'{"records": ' + b'{"x":' * 100_000,
        b'{"records": [' + b'{"x": 1},' * 1_000 + b'{"x": 1}]}',
        b'{"records": [{' + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}]}",
        BODY + BODY,
        BODY.decode().encode("utf-16"),
    ],
    ids=lambda body: f"{body[:24]!r} of {len(body)}",
)
def test_a_body_that_is_no_list_of_fitting_records_is_refused(site: Site, body: bytes) -> None:
    answer = site.post(body)
    assert answer.error == (422, "RecordsRefused")
    assert answer.json["faults"]
    assert len(answer.body) < 20_000


def test_a_stream_of_arrow_is_answered_by_one(site: Site) -> None:
    arrow = {"content-type": ARROW}
    answer = site.post(b"abc", **arrow)
    assert (answer.status, answer.body) == (200, b"cba")
    assert answer.headers["content-type"] == ARROW
    assert (answer.headers["headrace-variant"], answer.headers["headrace-version"]) == ("main", "double:3")
    site.double.error = RowsRefused("no sound stream", hint="send one")
    assert site.post(b"abc", **arrow).error == (422, "RowsRefused")


def test_of_a_field_that_is_given_twice_the_last_counts(site: Site) -> None:
    """As in Python and in browsers."""
    assert site.post(b'{"records": [{"x": 5, "x": 1}, {"x": 2}]}').json == DOUBLED
    assert site.post(b'{"records": [{"x": 5}], "records": [{"x": 1}, {"x": 2}]}').json == DOUBLED


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ModelBusy("257 requests wait"), 429, "257 requests wait"),
        (RowsRefused("x is negative", hint="correct the rows"), 422, "x is negative"),
        (ModelSlow("no answer within 20 s", hint="try again later"), 504, "no answer within 20 s"),
        (ModelGone("process 4711 has ended"), 503, "the model can't answer at the moment"),
        (
            LogError("`/secret/log` is full"),
            503,
            "the log can't be written at the moment, so the request may not have been recorded",
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_keeps_an_endpoint_from_answering_is_told(site: Site, error: Exception, status: int, told: str) -> None:
    site.double.error = error
    answer = site.post()
    assert answer.error == (status, type(error).__name__)
    assert answer.json["message"] == told
    assert answer.json["hint"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))


@pytest.mark.parametrize("error", [ValueError("secret"), StoreError("secret"), TimeoutError("secret")], ids=repr)
def test_an_error_inside_is_logged_and_not_told(site: Site, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    site.double.error = error
    with caplog.at_level(logging.ERROR, "headrace.serve"):
        answer = site.post()
    assert answer.error == (500, "HeadraceError")
    assert b"secret" not in answer.body
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]
    site.double.error = None
    assert site.post().status == 200


def test_an_unknown_endpoint_is_told_with_those_that_there_are(site: Site) -> None:
    answer = site.post(path="/v1/endpoints/doubel/predict")
    assert answer.error == (404, "EndpointUnknown")
    assert "did you mean `double`?" in answer.json["hint"]
    with serving(access=lambda port: Access.loopback(port)._replace(may_list=False)) as closed:
        assert b"double" not in closed.post(path="/v1/endpoints/doubel/predict").body


@pytest.mark.parametrize("name", ["a%2Fb%20%C3%A9", "doub%6ce"])
def test_a_name_may_be_written_as_a_path_must_write_it(site: Site, name: str) -> None:
    assert site.post(path=f"/v1/endpoints/{name}/predict").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "//v1/endpoints/double/predict",
        "/v1/endpoints//predict",
        "/v1//endpoints/double/predict",
        "/v1/endpoints/double/predict/",
        "/v1/endpoints/double%2Fpredict",
        "/v1/endpoints/%2e%2e/endpoints/double/predict",
        "/v1/x/../endpoints/double/predict",
        "/v1/endpoints/../double/predict",
        "/v1/endpoints/%2e%2e%2f/predict",
        "/v1/endpoints/double%00/predict",
        "/v1/endpoints/double%2564/predict",
        "/v1/endpoints/%ff%fe/predict",
        "/v1/endpoints/" + "a" * 50_000 + "/predict",
        "/V1/endpoints/double/predict",
        "/health/",
    ],
    ids=lambda path: path[:60],
)
def test_tricks_in_a_path_find_nothing(site: Site, path: str) -> None:
    answer = site.post(path=path)
    assert answer.status == 404
    assert answer.json["message"].startswith(("there is no path", "there is no endpoint"))
    assert len(answer.body) < 1_000
    assert not site.double.asked


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PATH, "POST"),
        ("OPTIONS", PATH, "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/ready", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_with_the_right_ones(site: Site, method: str, path: str, allowed: str) -> None:
    answer = site.ask(post(b"", path=path, method=method))
    assert answer.error == (405, "WrongMethod")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; application/json",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json\r\nContent-Type: text/plain",
    ],
)
def test_what_is_not_sent_as_json_is_refused(site: Site, kind: str) -> None:
    assert site.post(content_type=kind).error == (415, "ContentRefused")
    assert not site.double.asked


@pytest.mark.parametrize(
    "kind", ["Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_json_may_be_named_in_more_ways(site: Site, kind: str) -> None:
    assert site.post(content_type=kind).status == 200


def test_a_body_may_be_packed_by_gzip(site: Site) -> None:
    assert site.post(gzip.compress(BODY), content_encoding="gzip").json == DOUBLED
    assert site.post(BODY, content_encoding="identity").json == DOUBLED
    exact = BODY + b" " * ((1 << 20) - len(BODY))
    assert site.post(gzip.compress(exact), content_encoding="gzip").json == DOUBLED
    assert site.post(gzip.compress(exact + b" "), content_encoding="gzip").error == (413, "BodyTooLarge")


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(BODY)[:-1],
        gzip.compress(BODY) + b"x",
        gzip.compress(BODY) + gzip.compress(BODY),
        zlib.compress(BODY),
        BODY,
        b"",
    ],
    ids=["cut", "with more behind", "two streams", "zlib", "not packed", "empty"],
)
def test_a_body_that_can_not_be_unpacked_is_refused(site: Site, body: bytes) -> None:
    assert site.post(body, content_encoding="gzip").error == (400, "BadRequest")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip\r\nContent-Encoding: gzip"])
def test_other_packings_are_refused(site: Site, encoding: str) -> None:
    answer = site.post(content_encoding=encoding)
    assert answer.error == (415, "ContentRefused")
    assert answer.headers["accept-encoding"] == "gzip"


def test_a_body_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(site: Site) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        assert site.post(bomb, content_encoding="gzip").error == (413, "BodyTooLarge")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(site: Site) -> None:
    with site.line() as line:
        line.say(post(b"", content_length=str((1 << 20) + 1), expect="100-continue"))
        assert line.answer().error == (413, "BodyTooLarge")
        line.say(bytes((1 << 20) + 1))
        line.say(post())  # what was announced is thrown away, and the connection is as good as before
        assert line.answer().json == DOUBLED
    exact = BODY + b" " * ((1 << 20) - len(BODY))
    assert site.post(exact).status == 200


def test_a_body_without_a_length_is_refused_once_it_is_too_large(site: Site) -> None:
    with site.line() as line:
        line.say(post(b"", content_length="", transfer_encoding="chunked"))
        for _ in range(17):
            line.say(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        assert line.answer().error == (413, "BodyTooLarge")


def test_an_endpoint_that_takes_too_long_is_cancelled() -> None:
    with serving(limits=Limits(request_s=0.2)) as site:
        site.double.is_held = True
        assert site.post().error == (504, "AnswerLate")
        until(lambda: site.double.ends == ["cancelled"])


def test_an_answered_request_is_freed_without_the_garbage_collector(site: Site) -> None:
    def exchanges() -> int:
        return sum(isinstance(each, Exchange) for each in gc.get_objects())

    gc.collect()
    gc.disable()  # a full collection would delay all requests by 50 ms
    before = exchanges()
    try:
        assert [site.post().status for _ in range(3)] == [200] * 3
        site.double.asked.clear()  # which refer to their exchanges
        until(lambda: exchanges() <= before)
    finally:
        gc.enable()


def test_a_client_that_leaves_has_its_request_cancelled(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post())
        until(lambda: site.double.asked)
        assert not site.double.ends
    until(lambda: site.double.ends == ["cancelled"])
    site.double.is_held = False
    assert site.post().status == 200
    assert not caplog.records


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "LocalHost", "localhost:{}", "127.0.0.1:{}", "[::1]:{}"]
)
def test_clients_on_this_host_may_ask(site: Site, host: str) -> None:
    host = host.format(site.port)
    assert site.post(host=host).status == 200
    assert site.post(origin=f"http://localhost:{site.port}").status == 200
    assert site.post(origin=f"http://localhost:{site.port}", sec_fetch_site="same-origin").status == 200
    assert site.post(sec_fetch_site="none").status == 200
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert site.ask(post(b"", path="/", method="GET", **link)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": ""},
        {"host": "rebound.example:{port}"},
        {"host": "localhost.rebound.example"},
        {"host": "127.0.0.1.nip.io:{port}"},
        {"host": "localhost:1"},
        {"host": "localhost:{port}@rebound.example"},
        {"host": "127.1:{port}"},
        {"host": "0.0.0.0:{port}"},
        {"host": "localhost\r\nHost: localhost"},
        {"origin": "http://rebound.example"},
        {"origin": "http://localhost"},
        {"origin": "http://localhost:1"},
        {"origin": "https://localhost:{port}"},
        {"origin": "null"},
        {"origin": "http://localhost:{port}\r\nOrigin: http://rebound.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {"sec_fetch_site": "cross-site", "origin": "http://rebound.example"},
        {"forwarded": "for=10.0.0.1"},
        {"x_forwarded_for": "127.0.0.1"},
        {"X_Forwarded_Host": "localhost"},
    ],
    ids=str,
)
def test_whom_a_server_without_tokens_does_not_answer(site: Site, headers: dict[str, str]) -> None:
    told = {name: value.format(port=site.port) for name, value in headers.items()}
    assert site.post(BODY, **told).error == (403, "AccessRefused")
    assert site.ask(post(b"", path="/health", method="GET", **told)).error == (403, "AccessRefused")
    assert not site.double.asked


def test_browsers_leave_out_the_port_of_http() -> None:
    assert "http://localhost" in Access.loopback(80).origins
    assert "http://localhost" not in Access.loopback(8000).origins


def test_an_error_is_json_whatever_a_client_has_sent(site: Site) -> None:
    answer = site.post(path='/v1/endpoints/"%22%0d%0a%1b[31m/predict')
    assert answer.status in (400, 404)
    assert json.loads(answer.body)


FEEDBACK = "/v1/endpoints/double/feedback"
LABELS = b'{"labels": [{"id": "0a1b2c3d4e5f-1-0-00000000000000ff", "label": "late"}], "source": "people"}'


def test_labels_are_kept_also_for_an_endpoint_that_is_not_ready(site: Site) -> None:
    site.double.labels.clear()
    assert site.post(LABELS, path=FEEDBACK).json == {"labels": 1}
    assert site.post(gzip.compress(LABELS), path=FEEDBACK, content_encoding="gzip").json == {"labels": 1}
    site.endpoints.ready = False
    assert site.post(LABELS, path="/v1/endpoints/later/feedback").json == {"labels": 1}
    assert site.double.labels == [("0a1b2c3d4e5f-1-0-00000000000000ff", "late")] * 3
    assert not site.double.asked


def test_labels_that_can_not_be_kept_are_refused(site: Site) -> None:
    site.double.labels.clear()
    answer = site.post(b'{"labels": [{"id": "x"}]}', path=FEEDBACK)
    assert answer.error == (422, "LabelsRefused")
    assert [(each["record"], each["field"]) for each in answer.json["faults"]] == [(0, "id"), (0, "label")]
    assert site.post(LABELS, path="/v1/endpoints/doubel/feedback").error == (404, "EndpointUnknown")
    assert site.post(LABELS, path=FEEDBACK, content_type=ARROW).error == (415, "ContentRefused")
    assert site.ask(post(b"", path=FEEDBACK, method="GET")).error == (405, "WrongMethod")
    assert site.post(LABELS, path=FEEDBACK, origin="http://evil.example").error == (403, "AccessRefused")
    site.double.error = LogError("no disk")
    assert site.post(LABELS, path=FEEDBACK).error == (503, "LogError")
    assert not site.double.labels
