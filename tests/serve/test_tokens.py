"""A client that shows a valid token may ask the endpoints that the token names, and nobody else may."""

from __future__ import annotations

import pytest

from headrace.serve.access.access import Access
from headrace.serve.access.tokens import OLDEST_S, Token, Tokens, digest_of, written
from headrace.serve.refusals import AccessRefused, NotReady, TokenRefused
from tests.serve.site import BODY, DOUBLED, Site, post, serving

NOW = 1_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def known(clock: Clock) -> Tokens:
    tokens = Tokens(clock, clock)
    tokens.know(
        [
            Token("every", digest_of("one"), frozenset(), None),
            Token("some", digest_of("two_with_more"), frozenset({"delays"}), None),
            Token("brief", digest_of("three"), frozenset(), NOW + 60),
        ]
    )
    return tokens


def ask(tokens: Tokens, *values: str, endpoint: str = "delays", scope: str = "predict") -> None:
    tokens.check([(b"host", b"x"), *((b"authorization", value.encode()) for value in values)], endpoint, scope)


def test_a_token_lets_its_client_ask_the_endpoints_that_it_names() -> None:
    tokens = known(Clock())
    ask(tokens, f"Bearer {written('every', 'one')}", endpoint="any")
    ask(tokens, f"bearer  {written('some', 'two_with_more')}")
    with pytest.raises(AccessRefused, match="the token `some` isn't for the endpoint `other`"):
        ask(tokens, f"Bearer {written('some', 'two_with_more')}", endpoint="other")


def test_a_token_is_for_what_its_scopes_say() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset(), None, frozenset({"feedback"}))])
    ask(tokens, "Bearer headrace_a_b", scope="feedback")
    with pytest.raises(AccessRefused, match="its scope is feedback"):
        ask(tokens, "Bearer headrace_a_b", scope="predict")
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        token = {"authorization": "Bearer headrace_a_b"}
        labels = b'{"labels": [{"id": "0a1b2c3d4e5f-1-0-00000000000000ff", "label": 1}]}'
        assert site.post(BODY, **token).error == (403, "AccessRefused")
        assert site.post(labels, path="/v1/endpoints/double/feedback", **token).json == {"labels": 1}
        assert site.post(labels, path="/v1/endpoints/double/feedback").error == (401, "TokenRefused")


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        ("Bearer",),
        ("Bearer headrace_every_two",),
        ("Bearer headrace_every_",),
        ("Bearer headrace_every",),
        ("Bearer headrace_nobody_one",),
        ("Bearer headrace__one",),
        ("Bearer other_every_one",),
        ("Basic headrace_every_one",),
        ("headrace_every_one",),
        ("Bearer headrace_every_one", "Bearer headrace_every_one"),
        ("Bearer headrace_every_oneX",),
        ("Bearer headrace_every_" + "0" * 64,),
        ("Bearer " + "x" * 60_000,),
        ("Bearer headrace_every_\u00e9",),
    ],
    ids=lambda values: " & ".join(values)[:40],
)
def test_anything_else_than_one_valid_token_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(TokenRefused) as caught:
        ask(known(Clock()), *values)
    assert caught.value.headers == ((b"www-authenticate", b"Bearer"),)


def test_a_token_ends_when_it_expires_and_when_it_is_no_longer_known() -> None:
    clock = Clock()
    tokens = known(clock)
    ask(tokens, "Bearer headrace_brief_three")
    clock.now += 60
    with pytest.raises(TokenRefused, match="expired"):
        ask(tokens, "Bearer headrace_brief_three")
    tokens.know([])
    with pytest.raises(TokenRefused, match="isn't valid"):
        ask(tokens, "Bearer headrace_every_one")


def test_tokens_hold_for_ten_minutes_at_most_without_the_ledger() -> None:
    clock = Clock()
    tokens = known(clock)
    clock.now += OLDEST_S
    ask(tokens, "Bearer headrace_every_one")
    clock.now += 1
    with pytest.raises(NotReady, match="for 10 minutes"):
        ask(tokens, "Bearer headrace_every_one")


def test_a_server_with_tokens_answers_who_has_one_also_behind_a_proxy() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset({"double"}), None)])
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        assert site.post(BODY).error == (401, "TokenRefused")
        assert site.post(BODY).headers["www-authenticate"] == "Bearer"
        token = {"authorization": "Bearer headrace_a_b"}
        assert site.post(BODY, **token).json == DOUBLED
        assert site.post(BODY, host="models.example", **{"x-forwarded-for": "10.0.0.1"}, **token).json == DOUBLED
        assert site.post(BODY, origin="http://evil.example", **token).error == (403, "AccessRefused")
        assert site.post(BODY, path="/v1/endpoints/secret/predict", **token).error == (403, "AccessRefused")
        assert site.post(BODY, path="/v1/endpoints/secret/predict").error == (401, "TokenRefused")
        assert site.ask(post(b"", path="/health", method="GET")).status == 200


def test_an_endpoint_that_is_not_there_is_told_to_who_may_ask_it_only() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset(), None)])
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        told: Site = site
        found = told.post(BODY, path="/v1/endpoints/secret/predict", authorization="Bearer headrace_a_b")
        assert found.error == (404, "EndpointUnknown")
        assert found.json["hint"] is None
