"""A client that asks too often is refused, and told when to ask again; others aren't."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.serve.access.access import Access
from headrace.serve.access.rates import Rate, Rates, rate_in
from headrace.serve.access.tokens import Token, Tokens, digest_of
from tests.serve.site import Site, post, serving

RATES = st.builds(Rate, per_s=st.floats(min_value=0.01, max_value=10_000))
GAPS_S = st.lists(st.floats(min_value=0, max_value=100) | st.just(0.0), max_size=200)


def moments(gaps: list[float]) -> Iterator[float]:
    now = 1_000.0
    for gap in gaps:
        now += gap
        yield now


@given(RATES, GAPS_S)
def test_in_no_span_of_time_more_is_taken_than_the_rate_says(rate: Rate, gaps: list[float]) -> None:
    full, taken = 0.0, []
    for now in moments(gaps):
        full, wait = rate.taken(full, now)
        if not wait:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            most = rate.burst + rate.per_s * (taken[last] - taken[first] + 1e-4)
            assert last - first + 1 <= most + 1e-6


@given(RATES, GAPS_S)
def test_who_keeps_to_the_rate_is_never_refused(rate: Rate, gaps: list[float]) -> None:
    full = 0.0
    for now in moments([gap + 1 / rate.per_s for gap in gaps]):
        full, wait = rate.taken(full, now)
        assert wait == 0


@given(RATES, GAPS_S)
def test_who_waits_as_long_as_told_is_taken_and_not_before(rate: Rate, gaps: list[float]) -> None:
    full = 0.0
    for now in moments(gaps):
        full, wait = rate.taken(full, now)
        if wait:
            assert rate.taken(full, now + wait)[1] == 0
            assert rate.taken(full, now + wait - 1e-3)[1] > 0 or wait < 2e-3
            assert 0 < wait <= 1 / rate.per_s + 1e-6


@given(RATES, GAPS_S)
def test_a_refused_request_costs_nothing(rate: Rate, gaps: list[float]) -> None:
    full = 0.0
    for now in moments(gaps):
        after, wait = rate.taken(full, now)
        if wait:
            assert after == full
        full = after


@pytest.mark.parametrize(
    ("text", "per_s"), [("100/s", 100.0), ("600/m", 10.0), ("36/h", 0.01), (" 5 / s ", 5.0), ("1/s", 1.0)]
)
def test_a_rate_is_told_in_words(text: str, per_s: float) -> None:
    assert rate_in(text).per_s == per_s


@pytest.mark.parametrize(
    "text", ["", "100", "0/s", "-1/s", "1.5/s", "1/d", "100/", "/s", "1e3/s", "9" * 30 + "/s", "\u0661/s"]
)
def test_what_is_no_rate_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a rate"):
        rate_in(text)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_clients_are_counted_each_for_itself() -> None:
    clock = Clock()
    rates = Rates(Rate(per_s=2), clock)
    assert [rates.wait_s("a") for _ in range(4)] == [0, 0, 1, 1]
    assert rates.wait_s("b") == 0
    clock.now += 0.5
    assert [rates.wait_s("a") for _ in range(2)] == [0, 1]


def test_processes_that_were_forked_count_together_and_lose_no_request() -> None:
    rates = Rates(Rate(per_s=1_000), Clock())
    reading, writing = os.pipe()
    pids = []
    for _ in range(3):
        if not (pid := os.fork()):
            taken = sum(not rates.wait_s("a") for _ in range(1_000))
            os.write(writing, taken.to_bytes(4))
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    counts = [int.from_bytes(os.read(reading, 4)) for _ in pids]
    os.close(reading)
    os.close(writing)
    assert 1_000 <= sum(counts) <= 1_003, counts  # of a process that the kernel interrupts, one may go uncounted


def test_a_process_that_is_suspended_while_it_counts_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    rates = Rates(Rate(per_s=2), clock)
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        monkeypatch.setattr(rates, "_entry", lambda *_: (os.write(writing, b"x"), signal.pause()))
        rates.wait_s("a")
    assert os.read(reading, 1) == b"x"
    try:
        assert [rates.wait_s("a") for _ in range(3)] == [0, 0, 1]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def test_any_number_of_clients_is_remembered_as_long_as_it_matters() -> None:
    clock = Clock()
    rates = Rates(Rate(per_s=1), clock)
    for second in range(20):
        clock.now += 1
        assert {rates.wait_s(f"client {second} {number}") for number in range(2_000)} == {0}
        assert {rates.wait_s(f"client {second} {number}") for number in range(2_000)} == {1}


def test_who_asks_too_often_is_refused_and_told_when_to_ask_again() -> None:
    clock = Clock()
    tokens = Tokens()
    tokens.know([Token(name, digest_of("x"), frozenset(), None) for name in ("a", "b")])
    access = Access.by_token(tokens)._replace(rates=Rates(Rate(per_s=0.5), clock))
    with serving(access=lambda _: access) as site:
        first, second = ({"authorization": f"Bearer headrace_{name}_x"} for name in ("a", "b"))
        assert site.post(**first).status == 200
        refused = site.post(**first)
        assert refused.error == (429, "RateExceeded")
        assert refused.headers["retry-after"] == "2"
        assert site.ask(post(b"", path="/metrics", method="GET", **first)).status == 429
        assert site.post(**second).status == 200
        assert site.post().status == 401
        assert site.ask(post(b"", path="/health", method="GET")).status == 200
        clock.now += 2
        assert site.post(**first).status == 200


def test_without_tokens_all_clients_are_counted_together() -> None:
    def limited(port: int) -> Access:
        return Access.loopback(port)._replace(rates=Rates(Rate(per_s=1), Clock()))

    with serving(access=limited) as site:
        told: Site = site
        image = post(b"", path="/metrics", method="GET", sec_fetch_site="cross-site")
        assert [told.ask(image).status for _ in range(3)] == [403] * 3  # so no page uses up the rate
        assert told.post().status == 200
        assert told.post().error == (429, "RateExceeded")
        assert told.ask(post(b"", path="/health", method="GET")).status == 200
