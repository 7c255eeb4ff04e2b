"""The pipeline of each round: small, with most of what a pipeline may have, and the same values whatever happens."""

from __future__ import annotations

PIPELINES = """\
import os
import random
import time
from pathlib import Path

import headrace as hr
from headrace.define.attempt import attempt

def note(what: str, task: str) -> None:
    line = f"{what} {task} {hr.attempt().number} {os.getpid()}\\n"
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(line.encode())

def work(task: str, seconds: float) -> None:
    note("begin", task)
    hr.log("seconds", seconds)
    time.sleep(seconds)
    note("end", task)

@hr.stage(retries=9, backoff=0.05)
def listed(count: int) -> list[int]:
    work("listed", 0.03)
    return list(range(count))

@hr.stage(retries=9, backoff=0.05)
def each(n: int) -> int:
    work(f"each[n={n}]", 0.08)
    return n * n

@hr.stage(retries=9, backoff=0.05)
def big(numbers: list[int]) -> bytes:
    work("big", 0.05)
    return bytes(len(numbers)) * 50_000

@hr.stage(retries=9, backoff=0.05, isolation="fresh")
def drawn(numbers: list[int]) -> list[float]:
    work("drawn", 0.02)
    return [random.random() for _ in numbers]

@hr.stage(retries=9, backoff=0.05)
def flaky(numbers: list[int]) -> int:
    work("flaky", 0.01)
    if hr.attempt().number < 2:
        raise ValueError("the first attempt always fails")
    return len(numbers)

@hr.stage(retries=9, backoff=0.05)
def written(squares: list[int]) -> hr.File:
    work("written", 0.03)
    Path("squares.txt").write_text("\\n".join(map(str, squares)) * 1000)
    return hr.File("squares.txt")

@hr.stage(retries=9, backoff=0.05)
def total(squares: list[int], first: int, draws: list[float]) -> int:
    work("total", 0.02)
    return sum(squares) + first + len(draws)

@hr.stage(retries=9, backoff=0.05)
def scaled(result: int, by: int) -> int:
    work(f"scaled[by={by}]", 0.05)
    return result * by

@hr.stage(retries=9, backoff=0.05)
def long(numbers: list[int]) -> list[bytes]:
    note("begin", "long")
    reached = hr.attempt().checkpoint() or 0
    stored = []
    for number in numbers:
        stored.append(attempt().stored(bytes([number]) * 70_000))
        if number >= reached:
            time.sleep(0.15)
            hr.attempt().keep(number + 1)
    note("end", "long")
    return stored

@hr.stage(retries=9, backoff=0.05)
def is_big(result: int) -> bool:
    work("is_big", 0.01)
    return result > 10

@hr.stage(retries=9, backoff=0.05)
def judged(result: int) -> str:
    work("judged", 0.02)
    return f"{result} is big"

@hr.stage(retries=9, backoff=0.05)
def moves(seen: hr.Cursor, numbers: list[int]) -> int:
    work("moves", 0.02)
    hr.advance(seen, (seen.value or 0) + 1)
    return len(numbers)

@hr.stage(retries=9, backoff=0.05)
def parts(data: bytes, text: hr.File) -> tuple[int, bytes]:
    work("parts", 0.03)
    return len(data) + text.path.stat().st_size, data[:20_000]

@hr.stage(retries=9, backoff=0.05)
def last(pair: tuple[int, bytes], more: list[int], scale: int) -> int:
    work("last", 0.03)
    return (pair[0] + len(pair[1]) + sum(more)) * scale

@hr.pipeline
def flow(scale: int = 1) -> None:
    numbers = listed(6)
    squares = each.map(numbers)
    data = big(numbers)
    text = written(squares)
    long(numbers)
    moves(hr.cursor("seen"), numbers)
    result = total(squares, flaky(numbers), drawn(numbers))
    judged(result, when=is_big(result))
    if hr.value(result) > 0 and hr.now().year > 2000:
        more = scaled.map(result, by=[1, 2, 3])
        last(parts(data, text), more, scale)
"""


def expected(scale: int) -> dict[str, object]:
    """Return what each task gives, as it is worked out here, by none of Headrace's code; of random numbers, how many.

    >>> expected(2)["last"]
    666804
    """
    numbers = list(range(6))
    squares = [n * n for n in numbers]
    total = sum(squares) + len(numbers) + len(numbers)
    text = ("\n".join(map(str, squares)) * 1000).encode()
    scaled = {by: total * by for by in (1, 2, 3)}
    data = bytes(50_000 * len(numbers))
    pair = len(data) + len(text), data[:20_000]
    return {
        "listed": numbers,
        **{f"each[n={n}]": n * n for n in numbers},
        "big": data,
        "drawn": len(numbers),
        "flaky": len(numbers),
        "written": [text],
        "total": total,
        **{f"scaled[by={by}]": value for by, value in scaled.items()},
        "long": [bytes([n]) * 70_000 for n in numbers],
        "is_big": True,
        "judged": f"{total} is big".encode(),
        "moves": len(numbers),
        "parts": list(pair),
        "last": (pair[0] + len(pair[1]) + sum(scaled.values())) * scale,
    }
