"""The pipeline of each round: small, with most of what a pipeline may have, and the same values whatever happens."""

from __future__ import annotations

PIPELINES = """\
import os
import random
import time
from pathlib import Path

import headrace as hr

def note(what: str, task: str) -> None:
    line = f"{what} {task} {hr.attempt().number} {os.getpid()}\\n"
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(line.encode())

def work(task: str, seconds: float) -> None:
    note("begin", task)
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
    result = total(squares, flaky(numbers), drawn(numbers))
    if hr.value(result) > 0 and hr.now().year > 2000:
        more = scaled.map(result, by=[1, 2, 3])
        last(parts(data, text), more, scale)
"""
