"""What the process that writes the log of a worker with secrets lets through."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from headrace.work.sieve import STARS, Sieve

TEXTS = st.text("ab", max_size=30).map(str.encode)
SECRETS = st.lists(st.text("ab", min_size=1, max_size=6).map(str.encode), min_size=1, max_size=4)


@given(secrets=SECRETS, pieces=st.lists(TEXTS, max_size=6))
def test_a_secret_is_masked_wherever_what_is_printed_is_cut(secrets: list[bytes], pieces: list[bytes]) -> None:
    sieve = Sieve(secrets)
    sifted = b"".join(map(sieve.sift, pieces))
    longest = re.compile(b"|".join(sorted(secrets, key=len, reverse=True)))
    whole = longest.sub(STARS, b"".join(pieces))
    assert whole.startswith(sifted)
    assert len(whole) - len(sifted) <= len(STARS) * max(map(len, secrets))
    rest = sieve.rest()
    assert not any(secret in rest for secret in secrets)


def test_what_may_yet_become_a_secret_is_held_back_and_no_more() -> None:
    sieve = Sieve([b"hunter2", b"hunter2345", b"abc", b"xab"])
    assert sieve.sift(b"user: h") == b"user: "
    assert sieve.sift(b"ello, hunter2") == b"hello, "
    assert sieve.sift(b"34!\nxabc\n") == STARS + b"34!\n" + STARS + b"c\n"
    assert sieve.sift(b"hun") == b""
    assert sieve.rest() == b"hun", "less than half of one"
    assert sieve.sift(b"hunte") == b""
    assert sieve.rest() == STARS, "it was cut off in the midst of one"
