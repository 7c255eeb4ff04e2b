"""What a server counts can be read by Prometheus, and is what happened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.access.access import Access
from headrace.serve.access.tokens import Token, Tokens, digest_of
from headrace.serve.metrics import (
    BOUNDS_S,
    LATENCY,
    METRICS,
    MIRRORS,
    PREDICTIONS,
    REQUESTS,
    WAITING,
    Metrics,
    text,
)
from headrace.serve.queue import ModelBusy
from headrace.serve.request import ARROW
from tests.serve.site import Answer, Site, post, serving, until

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\+Inf|NaN|[-+.e0-9]+)")
ANSWERING = {"endpoint": "double", "variant": "main", "version": "double:3"}

Series = frozenset[tuple[str, str]]


def parsed(text: str) -> dict[str, dict[Series, float]]:
    """Return the samples of a text in the format 0.0.4, by name and labels. It must be of that format to the letter:
    https://prometheus.io/docs/instrumenting/exposition_formats/"""
    assert text.endswith("\n")
    found: dict[str, dict[Series, float]] = {}
    kinds: dict[str, str] = {}
    now = ""
    for line in text.removesuffix("\n").split("\n"):
        if help_ := re.fullmatch(rf"# HELP ({NAME}) (?:[^\\]|\\\\|\\n)*", line):
            now = help_[1]
            assert now not in kinds
        elif kind := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            assert kind[1] == now
            kinds[now] = kind[2]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            family = re.sub("_(bucket|sum|count)$", "", sample[1]) if kinds[now] == "histogram" else sample[1]
            assert family == now, "the samples of a metric stand together"
            labels = re.findall(LABEL, sample[2] or "")
            assert len(dict(labels)) == len(labels)
            series = frozenset((name, unescaped(value)) for name, value in labels)
            assert series not in found.setdefault(sample[1], {})
            found[sample[1]][series] = float(sample[sample.re.groups])
    return found


def unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda each: "\n" if each[1] == "n" else each[1], value)


def labels(**labels: str) -> Series:
    return frozenset(labels.items())


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def measured(site: Site, **headers: str) -> dict[str, dict[Series, float]]:
    return parsed(got(site, **headers).body.decode())


def got(site: Site, **headers: str) -> Answer:
    answer = site.ask(post(b"", path="/metrics", method="GET", content_type="", **headers))
    assert answer.status == 200
    return answer


def requests(found: Mapping[str, Mapping[Series, float]], **about: str) -> float:
    """Return how many requests there were of which this holds."""
    counted = found.get("headrace_requests_total", {})
    return sum(number for series, number in counted.items() if about.items() <= dict(series).items())


def test_requests_are_counted_by_who_answered_and_by_what_became_of_them(site: Site) -> None:
    site.post()
    site.post(b"abc", **{"content-type": ARROW})
    site.post(b'{"records": []}')
    site.double.error = ModelBusy("257 requests wait")
    site.post()
    site.double.error = ValueError("secret")
    site.post()
    found = measured(site)
    assert requests(found, status="200", error="", **ANSWERING) == 2
    assert requests(found, status="422", error="RecordsRefused", endpoint="double", variant="") == 1
    assert requests(found, status="429", error="ModelBusy", **ANSWERING) == 1
    assert requests(found, status="500", error="HeadraceError", **ANSWERING) == 1
    assert found["headrace_request_seconds_count"] == {
        labels(**ANSWERING): 4,
        labels(endpoint="double", variant="", version=""): 1,
    }
    assert found["headrace_bytes_total"][labels(endpoint="double", direction="in")] == 33 * 3 + 3 + 15
    assert requests(measured(site), endpoint="") == 1  # the first look at the metrics themselves


def test_a_client_that_left_is_counted_as_one(site: Site) -> None:
    site.double.is_held = True
    with site.line() as line:
        line.say(post())
        until(lambda: site.double.asked)
    until(lambda: requests(measured(site), status="499", **ANSWERING) == 1)


def test_what_clients_invent_makes_no_new_series(site: Site) -> None:
    def ask_what_is_not_there(number: int) -> None:
        site.post(path=f"/v1/endpoints/no-{number}/predict")
        site.post(path=f"/v1/no/{number}")
        site.ask(post(b"", path="/health", method=f"NO{number}"))
        site.post(host=f"no-{number}.example")
        site.post(content_type=f"no/{number}")
        site.post(traceparent=f"{number}", x_request_id=f"{number}")
        site.ask(f"NO {number}\r\n\r\n".encode())
        site.ask(post(b"", x_large="x" * (100_000 + number)))

    ask_what_is_not_there(0)
    before = got(site).body.count(b"\n")
    for number in range(1, 20):
        ask_what_is_not_there(number)
    assert got(site).body.count(b"\n") - before <= 1  # the first look at the metrics itself
    found = measured(site)
    assert requests(found, status="404", error="EndpointUnknown", endpoint="") == 20
    assert requests(found, status="431", error="HeadTooLarge", endpoint="") == 20
    assert requests(found, status="400", error="BadRequest", endpoint="") == 40


def test_who_needs_a_token_reads_about_the_endpoints_that_it_is_for() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset(), None), Token("c", digest_of("d"), frozenset({"other"}), None)])
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        asked = post(b"", path="/metrics", method="GET")
        assert site.ask(asked).error == (401, "TokenRefused")
        site.post(authorization="Bearer headrace_a_b")
        assert requests(measured(site, authorization="Bearer headrace_a_b"), endpoint="double") == 1
        assert "double" not in got(site, authorization="Bearer headrace_c_d").body.decode()


def test_a_page_of_another_site_reads_nothing(site: Site) -> None:
    asked = post(b"", path="/metrics", method="GET", origin="http://evil.example")
    assert site.ask(asked).error == (403, "AccessRefused")


TEXTS = st.text(max_size=20)
LABELS = st.tuples(TEXTS, TEXTS, TEXTS)
DURATIONS = st.floats(min_value=0, max_value=1e6) | st.sampled_from(BOUNDS_S)


@given(st.dictionaries(LABELS, st.lists(DURATIONS, max_size=5), max_size=5))
def test_a_text_says_what_was_counted_whatever_the_names_are(series: dict[tuple[str, str, str], list[float]]) -> None:
    metrics = Metrics()
    metrics.gauge(WAITING, lambda: {each[:2]: 7 for each in series})
    for variant, durations in series.items():
        metrics.add(PREDICTIONS, *variant, by=len(durations))
        for seconds in durations:
            metrics.took(LATENCY, seconds, *variant)
    found = parsed(text(metrics.reading()))
    for variant, durations in series.items():
        about = dict(zip(PREDICTIONS.labels, variant, strict=True))
        assert found[PREDICTIONS.name][labels(**about)] == len(durations)
        for bound in (*BOUNDS_S, math.inf):
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            if durations:
                below = sum(each <= bound for each in durations)
                assert found[f"{LATENCY.name}_bucket"][labels(**about, le=le)] == below
        if durations:
            assert found[f"{LATENCY.name}_sum"][labels(**about)] == pytest.approx(sum(durations))


COUNTED = st.lists(st.tuples(LABELS, st.integers(1, 5), DURATIONS), max_size=6)


@given(COUNTED, COUNTED)
def test_the_counts_of_two_processes_add_up(one: list, other: list) -> None:
    def counted(*parts: list) -> Metrics:
        metrics = Metrics()
        for labels_, number, seconds in (each for part in parts for each in part):
            metrics.add(PREDICTIONS, *labels_, by=number)
            metrics.took(LATENCY, seconds, *labels_)
        return metrics

    total, together = counted(one).reading() + counted(other).reading(), counted(one, other).reading()
    assert total.numbers == together.numbers
    for labels_, spread in together.spreads[LATENCY.name].items():
        assert total.spreads[LATENCY.name][labels_].counts == spread.counts
        assert total.spreads[LATENCY.name][labels_].seconds == pytest.approx(spread.seconds)


def test_what_was_counted_since_is_the_difference_of_two_readings() -> None:
    metrics = Metrics()
    metrics.add(REQUESTS, "a", "b", "c", "200", "", by=3)
    before = metrics.reading()
    metrics.add(REQUESTS, "a", "b", "c", "200", "", by=2)
    assert before.numbers[REQUESTS.name][("a", "b", "c", "200", "")] == 3  # it doesn't grow with what comes later
    assert metrics.reading().numbers[REQUESTS.name][("a", "b", "c", "200", "")] == 5


def test_metrics_are_named_as_prometheus_wants() -> None:
    for metric in METRICS:
        assert re.fullmatch("headrace_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.about.endswith(".")
    assert MIRRORS in METRICS
