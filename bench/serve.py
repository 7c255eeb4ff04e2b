"""`headrace serve`, with its log durable and each model in a process of its own: what an answer costs, beside FastAPI
and LitServe with the same model; how long it takes, when requests come at fixed times; and how soon it changes.

Server and clients have a core each. What a request costs is the cpu of all processes of the server, divided by the
answers: on one core, this says how many requests it could answer in a second.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from bench.clients import Heard, arriving, heard, request, wrk
from bench.command import HEADRACE, headrace, project, took
from bench.rivals import PATH, ROWS, SERVERS, Process, bare, rival, started
from bench.table import Row, amount
from bench.turns import in_turns
from headrace.models.streams import stream_of
from headrace.operate.endpoints.serving import LOOK_S

SERVER_CORE, CLIENT_CORE = 0, 1
CLIENTS, BULK_CLIENTS, BULK_ROWS = 16, 4, 1_000
TURN_S, ARRIVALS_S, WARM_S = 2.0, 5.0, 1.0
OF_FASTAPI, OF_CONSTANT = 0.5, 1.7
WORKERS, OF_WORKERS = 2, 1.1
OF_CALL, BEYOND_S = 1.5, 0.003
BULK_RATE = 0.8
PROMOTE_S, PROMOTED, REQUESTS = 1.0, 6, 10_000
SHADOW_LOAD, SHADOW = 0.3, 1.1
START_S = 2.0
MOST_ROUNDS = 7
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
CODE = """\
import lightgbm
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

import headrace as hr
import rows
from headrace.stages import deploy, train


@hr.stage(kind="ingest")
def flights(seed: int) -> pa.Table:
    return pa.Table.from_pandas(rows.frame(seed=seed), preserve_index=False)


@hr.pipeline
def release(seed: int = 0) -> None:
    deploy.endpoint(train.sklearn(LogisticRegression(), flights(seed), target="late"), "delays")


@hr.pipeline
def trial(seed: int = 1) -> None:
    deploy.endpoint(train.sklearn(LogisticRegression(), flights(seed), target="late"), "delays", canary=0.0)


@hr.pipeline
def bulk(seed: int = 0) -> None:
    params = {"objective": "binary", "num_leaves": 31, "verbose": -1}
    deploy.endpoint(train.lightgbm(params, flights(seed), target="late", num_boost_round=100), "bulk")
"""


class Cost(NamedTuple):
    """What answers cost: seconds of cpu of the server's processes for each, and how many there were in a second."""

    cpu_s: float
    rate: float


class Commits(NamedTuple):
    """How long commits of one row took, in seconds: half of them, and 99 of 100, at most."""

    p50_s: float
    p99_s: float


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Measure each in turns with what it is held against."""
    rounds = min(rounds, MOST_ROUNDS)
    place = project(folder / "project", CODE)
    (place / "rows.py").write_text(ROWS)
    for pipeline in ("release", "bulk"):
        headrace(["run", f"one.py:{pipeline}"], place)
    files = _files(folder)
    costs = _costs(place, files, rounds)
    yield from _of_costs(costs)
    top = median(cost.rate for cost in costs["headrace"])
    yield _workers(place, files, rounds)
    yield _at_half(place, files, top, rounds)
    yield _bulk(place, files, rounds)
    headrace(["run", "one.py:trial"], place)
    yield _promote(place, files)
    yield _shadow(place, files, top, rounds)
    yield _cold(place, files, rounds)


# -- what an answer costs -----------------------------------------------------------------------------------------


def _costs(place: Path, files: Mapping[str, Path], rounds: int) -> dict[str, list[Cost]]:
    """Measure closed loops of clients against our server and the others, in turns."""
    with ExitStack() as stack:
        enter = stack.enter_context
        servers = {"headrace": enter(serving(place, "delays"))}
        for name in SERVERS:
            port = _free_port()
            servers[name] = port, enter(rival(name, port, place, core=SERVER_CORE))
        sides = {name: lambda each=each: _closed(each, files["json"]) for name, each in servers.items()}
        for ask in sides.values():
            ask()
        return in_turns(rounds, sides)


def _closed(server: tuple[int, Process], body: Path) -> Cost:
    port, process = server
    for each in process.all():
        each.resume()
    try:
        url = f"http://localhost:{port}{PATH}"
        wrk(url, body, JSON, connections=CLIENTS, seconds=WARM_S, core=CLIENT_CORE)
        before = process.cpu_s
        found = wrk(url, body, JSON, connections=CLIENTS, seconds=TURN_S, core=CLIENT_CORE)
        used = process.cpu_s - before
    finally:
        for each in process.all():  # so that a server which looks out for work takes none of another one's core
            each.suspend()
    _check(found)
    return Cost(used / found.count, found.rate)


def _of_costs(costs: Mapping[str, list[Cost]]) -> Iterator[Row]:
    cpu_s = {name: median(cost.cpu_s for cost in found) for name, found in costs.items()}
    rate = {name: median(cost.rate for cost in found) for name, found in costs.items()}
    rates = ", ".join(f"{name} {count:,.0f}" for name, count in rate.items())
    bars = {
        "fastapi": (OF_FASTAPI, "async FastAPI with the same model, without a log"),
        "constant": (OF_CONSTANT, "async FastAPI that answers a constant"),
    }
    for name, (times, what) in bars.items():
        yield Row(
            what=f"serve: cpu of an answer, logistic regression, {CLIENTS} clients, beside {name}",
            measured=cpu_s["headrace"],
            floor=cpu_s[name],
            bar=times * cpu_s[name],
            bar_is=f"{times:g} x the floor",
            floor_is=what,
            note=f"requests in a second: {rates}; LitServe's cpu is {amount(cpu_s['litserve'], 's')}",
        )


def _workers(place: Path, files: Mapping[str, Path], rounds: int) -> Row:
    """Measure a server with several web workers, and one with one, on the same core."""
    with (
        serving(place, "delays") as one,
        serving(place, "delays", "--workers", f"{WORKERS}") as several,
    ):
        sides = {"one": lambda: _closed(one, files["json"]), "several": lambda: _closed(several, files["json"])}
        for ask in sides.values():
            ask()
        turns = in_turns(rounds, sides)
        answered = _answered(several)
    alone = median(cost.cpu_s for cost in turns["one"])
    return Row(
        what=f"serve: cpu of an answer with {WORKERS} web workers, logistic regression, {CLIENTS} clients",
        measured=median(cost.cpu_s for cost in turns["several"]),
        floor=alone,
        bar=OF_WORKERS * alone,
        bar_is=f"{OF_WORKERS:g} x the floor",
        floor_is="the same with one",
        note=f"the web workers answered {' and '.join(f'{each:.0%}' for each in answered)} of the requests",
    )


def _answered(server: tuple[int, Process]) -> list[float]:
    """Return which share of the requests each web worker has answered."""
    port, process = server
    for each in process.all():
        each.resume()
    with urllib.request.urlopen(f"http://localhost:{port}/metrics") as answer:
        counts = re.findall(
            r'^headrace_predictions_total\{.*worker="\d+"\} (\d+)$', answer.read().decode(), re.MULTILINE
        )
    return [int(each) / sum(map(int, counts)) for each in counts]


# -- how long an answer takes -------------------------------------------------------------------------------------


def _at_half(place: Path, files: Mapping[str, Path], top: float, rounds: int) -> Row:
    rate = top / 2
    with serving(place, "delays") as (port, _):
        arrive = _arrivals(port, files, rate)
        arrive()
        sides = {
            "ours": arrive,
            "call": lambda: bare(sys.executable, "logistic", "frame", WARM_S, place, core=SERVER_CORE),
            "commit": lambda: commits(place, rate, TURN_S),
        }
        turns = in_turns(rounds, sides)
    call_s = median(turns["call"])
    commit = Commits(*(median(each) for each in zip(*turns["commit"], strict=True)))
    return Row(
        what="serve: p99 of answers at half of the top rate, requests at fixed times",
        measured=median(found.p99_s for found in turns["ours"]),
        floor=call_s + commit.p50_s,
        bar=OF_CALL * call_s + commit.p99_s + BEYOND_S,
        bar_is=f"{OF_CALL:g} x the model's call + a commit's p99 + {amount(BEYOND_S, 's')}",
        floor_is="the bare call and a bare commit, at the median",
        note=f"{rate:,.0f} requests in a second; half of the answers took {amount(_p50(turns['ours']), 's')}; the call"
        f" takes {amount(call_s, 's')}, and a commit {amount(commit.p50_s, 's')}, its p99 {amount(commit.p99_s, 's')}",
    )


def _shadow(place: Path, files: Mapping[str, Path], top: float, rounds: int) -> Row:
    """The shadow's version is loaded all the time, as a variant that gets no requests."""
    rate = SHADOW_LOAD * top
    headrace(["route", "delays:2", "--share", "0"], place)
    with serving(place, "delays") as (port, _):
        arrive = _arrivals(port, files, rate)

        def without() -> Heard:
            headrace(["retire", "delays", "shadow"], place)
            return _settled(arrive)

        def beside() -> Heard:
            headrace(["route", "delays:2", "--shadow"], place)
            return _settled(arrive)

        beside()
        turns = in_turns(rounds, {"without": without, "with": beside})
    alone = median(found.p99_s for found in turns["without"])
    return Row(
        what="serve: p99 of answers at 30% of the top rate, with a shadow of an equally costly model",
        measured=median(found.p99_s for found in turns["with"]),
        floor=alone,
        bar=SHADOW * alone,
        bar_is=f"{SHADOW:g} x the floor",
        floor_is="the same without a shadow",
        note=f"{rate:,.0f} requests in a second; half of the answers took {amount(_p50(turns['with']), 's')}, and"
        f" {amount(_p50(turns['without']), 's')} without",
    )


def _settled(arrive: Callable[[], Heard]) -> Heard:
    """Ask once the server has seen the new route."""
    time.sleep(2 * LOOK_S)
    return arrive()


def _arrivals(port: int, files: Mapping[str, Path], rate: float) -> Callable[[], Heard]:
    def arrive() -> Heard:
        return _check(heard(arriving(port, files["request"], rate, ARRIVALS_S, core=CLIENT_CORE)))

    return arrive


def _p50(found: Sequence[Heard]) -> float:
    return median(each.p50_s for each in found)


def commits(folder: Path, rate: float, seconds: float) -> Commits:
    """Commit so many small rows a second, each with a full sync, as far as the disk keeps up."""
    with (
        TemporaryDirectory(dir=folder) as place,
        closing(sqlite3.connect(f"{place}/floor.db", isolation_level=None)) as db,
    ):
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE answered (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        took = []
        end = (due := time.perf_counter()) + seconds
        while (began := time.perf_counter()) < end:
            db.execute("INSERT INTO answered (body) VALUES (?)", (bytes(400),))
            took.append(time.perf_counter() - began)
            due = max(due + 1 / rate, began)
            time.sleep(max(0.0, due - time.perf_counter()))
    took.sort()
    return Commits(took[len(took) // 2], took[len(took) * 99 // 100])


# -- many rows at once ---------------------------------------------------------------------------------------------


def _bulk(place: Path, files: Mapping[str, Path], rounds: int) -> Row:
    with serving(place, "bulk") as (port, process):
        url = f"http://localhost:{port}{PATH.replace('delays', 'bulk')}"

        def ask() -> Cost:
            before = process.cpu_s
            told = wrk(url, files["arrow"], ARROW, connections=BULK_CLIENTS, seconds=TURN_S, core=CLIENT_CORE)
            return Cost((process.cpu_s - before) / _check(told).count, told.rate)

        def call() -> float:
            return bare(sys.executable, "boosted", "frame.to_numpy()", TURN_S, place, core=SERVER_CORE)

        ask()
        turns = in_turns(rounds, {"ours": ask, "call": call})
    call_s = median(turns["call"])
    return Row(
        what=f"serve: an answer for {BULK_ROWS:,} rows of Arrow, LightGBM with 100 trees, {BULK_CLIENTS} clients",
        measured=1 / median(cost.rate for cost in turns["ours"]),
        floor=call_s,
        bar=call_s / BULK_RATE,
        bar_is=f"the floor / {BULK_RATE:g}",
        floor_is="the bare call for as many rows of NumPy",
        note=f"{amount(median(cost.cpu_s for cost in turns['ours']), 's')} of cpu in all processes",
    )


# -- changes -------------------------------------------------------------------------------------------------------


def _promote(place: Path, files: Mapping[str, Path]) -> Row:
    """Promote now this version, now that one, while requests come; both are loaded."""
    commands: list[float] = []
    with serving(place, "delays") as (port, _):
        pause = 2 * PROMOTE_S + LOOK_S
        seconds = (PROMOTED + 1) * pause
        client = arriving(port, files["request"], REQUESTS / seconds, seconds, core=CLIENT_CORE)
        moves = []
        for number in range(PROMOTED):
            time.sleep(pause - (commands[-1] if commands else 0.0))
            version = f"delays:{2 - number % 2}"
            moves.append((time.time(), version))
            commands.append(headrace(["promote", version], place).wall_s)
        found = _check(heard(client))
    late = [next(at for at, version in found.changes if version == to and at > began) - began for began, to in moves]
    return Row(
        what="serve: from `headrace promote` to the first answer of the new version",
        measured=max(late),
        floor=median(commands),
        bar=PROMOTE_S,
        floor_is="the command itself, at the median",
        note=f"the longest of {PROMOTED}, among {found.count:,} requests, of which none failed;"
        f" the median is {amount(median(late), 's')}",
    )


def _cold(place: Path, files: Mapping[str, Path], rounds: int) -> Row:
    body = files["json"].read_bytes()

    def once() -> float:
        port = _free_port()
        began = time.perf_counter()
        with started([HEADRACE, "serve", "delays", "--port", str(port)], port, PATH, body, core=None, folder=place):
            return time.perf_counter() - began

    def imports() -> float:
        return took([sys.executable, "-c", "import sklearn.linear_model, pyarrow"], place).wall_s

    once()
    turns = in_turns(rounds, {"ours": once, "imports": imports})
    return Row(
        what="serve: from the start of `headrace serve` to the first answer, scikit-learn",
        measured=median(turns["ours"]),
        floor=median(turns["imports"]),
        bar=START_S,
        floor_is="Python importing scikit-learn and pyarrow",
    )


# -- what all share ------------------------------------------------------------------------------------------------


@contextmanager
def serving(place: Path, name: str, *more: str) -> Iterator[tuple[int, Process]]:
    """Run our server on its core, and yield its port once it is ready."""
    port = _free_port()
    words = [HEADRACE, "serve", name, "--port", str(port), *more]
    with started(words, port, "/ready", core=SERVER_CORE, folder=place) as process:
        yield port, process


def _files(folder: Path) -> dict[str, Path]:
    """Write the bodies of requests, and a whole request, and return their paths."""
    space: dict[str, Any] = {}
    exec(ROWS, space)
    frame = space["frame"](BULK_ROWS, seed=1)[list(space["FIELDS"])]
    body = msgspec.json.encode({"records": frame[:1].to_dict("records")})
    bodies = {
        "json": body,
        "arrow": stream_of(pa.Table.from_pandas(frame, preserve_index=False)),
        "request": request(PATH, body, JSON),
    }
    for name, data in bodies.items():
        (folder / f"{name}.body").write_bytes(data)
    return {name: folder / f"{name}.body" for name in bodies}


def _check(found: Heard) -> Heard:
    """Return what was heard, if something was, and no request failed."""
    if not found.count:
        raise RuntimeError("no request was answered: the machine is too busy to measure anything")
    if found.failed:
        raise RuntimeError(f"{found.failed:,} of {found.count:,} requests failed")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port
