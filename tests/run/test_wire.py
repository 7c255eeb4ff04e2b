"""What goes over the wire arrives as it was, however the bytes are cut."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from headrace.run.events import Asked, Cancelled, Failed, Launched, Span, Succeeded, Use, decode_event, encode_event
from headrace.run.wire import (
    MAX_FRAME_BYTES,
    Ack,
    Answer,
    Do,
    Ended,
    Fork,
    Frames,
    Hello,
    Kill,
    Listen,
    Pulse,
    Question,
    Quit,
    Refused,
    Report,
    Tell,
    Trace,
    decode_down,
    decode_news,
    decode_order,
    decode_up,
    frame,
)
from headrace.spec.address import StoreAddress
from headrace.spec.failure import Failure
from headrace.spec.graph import Const, Many, Out, Secret
from headrace.spec.stage import Resources
from headrace.testing.graphs import BUNDLE, listing, number

BODIES = st.lists(st.binary(max_size=40), max_size=8)


def raw(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


@given(BODIES, st.lists(st.integers(0, 400), max_size=12))
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(raw, bodies))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    frames, found = Frames(), []
    for start, end in pairwise(edges):
        found += list(frames.feed(stream[start:end]))
    assert found == bodies


@given(BODIES, st.integers(0, 50))
def test_a_torn_end_gives_nothing_and_hurts_nothing_before_it(bodies: list[bytes], kept: int) -> None:
    torn = raw(b"x" * 60)[:kept]
    assert list(Frames().feed(b"".join(map(raw, bodies)) + torn)) == bodies


def test_a_length_past_all_measure_is_no_stream_of_ours() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(Frames().feed(struct.pack("<I", MAX_FRAME_BYTES + 1)))


ARGS = (("a", Const(number(1))), ("b", Many("dict", (Const(number(2)), Secret("TOKEN")), ("x", "y"))))
DO = Do("fit", 2, "key", "m:fit", ARGS, "code", ("d",), number(3), 1, 2, "fit#2", 60.0)


@pytest.mark.parametrize(
    ("message", "decode"),
    [
        (DO, decode_down),
        (Ack(7), decode_down),
        (Tell("fit", 1, "prune"), decode_down),
        (Trace("flights", ("p.py",), (("month", "3"),)), decode_down),
        (Answer(1, ref=listing([number(1)])), decode_down),
        (Answer(2, error="no", hint="try"), decode_down),
        (Quit(), decode_down),
        (Report(1, b"\x00\xff"), decode_up),
        (Question(1, "file", "data.csv"), decode_up),
        (Refused("TraceError", "no", "hint", "traceback"), decode_up),
        (Hello("run", BUNDLE, StoreAddress(url="s3://bucket/prefix"), "/local", 4.0, gpus=2), decode_order),
        (Fork(1, "attempt", need=Resources(cpu=0.5, memory_gib=1.0, gpu="1")), decode_order),
        (Listen(3), decode_order),
        (Kill(1, 9), decode_order),
        (Ended(1, -9, "too much"), decode_news),
        (Pulse(1, 3, 12.5, 0.1), decode_news),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Struct) else "",
)
def test_each_message_arrives_as_it_was(message: Struct, decode: object) -> None:
    [body] = Frames().feed(frame(message))
    assert decode(body) == message  # type: ignore[operator]


@pytest.mark.parametrize(
    "event",
    [
        Launched("fit", 1, "key", (1, 2), "here", "why", b"", 0.5, 10.0),
        Succeeded("fit", 1, listing([number(1)]), 10.0, 2.0, 0.1, 0.2, Span("1-7", 0, 9), Use(1.0, 0.5), "because"),
        Failed("fit", 1, Failure("memory", "too much", "trace", "hint"), 12.0, jitter=0.5),
        Asked(0, Out("fit", (1,))),
        Cancelled("ann", "why", 1.0, now=True),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_event_is_read_back_as_it_was(event: Struct) -> None:
    assert decode_event(encode_event(event)) == event
