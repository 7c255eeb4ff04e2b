"""What the process that writes the log of a worker with secrets lets through."""

from __future__ import annotations

import base64
import random
import re
import time

from hypothesis import given
from hypothesis import strategies as st

from headrace.work.output.log_writer import STARS, Sieve, any_of
from headrace.work.output.mask import Mask

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


@given(words=st.lists(st.text("ab(|\\é", min_size=1, max_size=6), min_size=1, max_size=30), text=st.text("ab(|\\é"))
def test_a_pattern_for_many_words_finds_the_longest_of_those_that_begin_at_a_place(words: list[str], text: str) -> None:
    longest = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    assert [found.span() for found in re.finditer(any_of(words), text)] == [
        found.span() for found in longest.finditer(text)
    ]


def test_words_that_each_begin_with_the_one_before_are_a_pattern_too() -> None:
    words = ["a" * length for length in range(1, 200)]
    assert re.sub(any_of(words), "*", "a" * 199 + "b") == "*b"


def test_what_is_printed_is_masked_soon_whatever_the_number_of_lines_of_a_key() -> None:
    """A key of 26 lines has 400 forms. Line by line, 200 kB took six seconds before."""
    chance = random.Random(1)
    lines = [base64.b64encode(chance.randbytes(48)).decode() for _ in range(26)]
    mask = Mask()
    mask.add("\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"]))
    sieve = Sieve([form.encode() for form in mask.forms])
    printed = [base64.b64encode(chance.randbytes(60)) + b"\n" for _ in range(2_500)]
    start = time.process_time()
    sifted = b"".join(map(sieve.sift, [*printed, lines[7].encode(), b"\n", *printed])) + sieve.rest()
    text = mask.text((b"".join(printed) * 5).decode())
    assert time.process_time() - start < 2.0
    assert sifted == b"".join([*printed, STARS, b"\n", *printed])
    assert text == (b"".join(printed) * 5).decode()
