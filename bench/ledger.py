"""The ledger on PostgreSQL: the fan of 1,000 short tasks, and 16 drivers that write at once.

The server is one of its own on this machine, so it shares the processors with both sides, and keeps what is committed
on the disk. The fan is that of `bench.fan`. Its floor is bare psycopg: as many rows in as many commits, one round trip
each. A driver of the sixteen is a process that does what the drive loop asks of the ledger, tick by tick, with nothing
beside it: a look-up, 10 events, the rows and results of 3 tasks; every fifth time the inbox and a grant. Their floor
are 16 processes of bare psycopg that insert the same events and rows.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg

from bench import fan
from bench.command import Took, headrace, project, spent
from bench.table import Row, amount
from bench.turns import in_turns
from headrace.ledger.database.opening import connect
from tests.servers.postgres import Postgres

DRIVERS, TICKS, EVENTS, TASKS = 16, 40, 10, 3
FAN_BAR_S = 0.0004
DRIVERS_BAR_S = 1 / 3000


def rows(folder: Path, rounds: int) -> Iterator[Row]:
    """Start a server, and measure a wide and a narrow run, many drivers, and their floors, in turns."""
    with server() as postgres:
        yield _fan(folder, postgres, rounds)
        yield _drivers(postgres, min(rounds, 3))


@contextmanager
def server() -> Iterator[Postgres]:
    """Return a PostgreSQL server whose commits are on the disk."""
    # Not in the benchmark's folder: the server may be another user, who can't come there.
    with TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as place:
        postgres = Postgres(Path(place) / "server", fsync=True)
        try:
            yield postgres
        finally:
            postgres.stop()


def _fan(folder: Path, postgres: Postgres, rounds: int) -> Row:
    place = project(folder / "project", fan.CODE)
    url = postgres.database()
    (place / "headrace.toml").write_text(f'[project]\npipelines = ["one.py"]\n[ledger]\nurl = "{url}"\n')
    salts = count()

    def run(width: int) -> Took:
        return headrace(["run", "one.py:fan", "--salt", str(next(salts)), "--width", str(width)], place)

    for _ in range(2):
        run(1)
    before = _commits(postgres, url)
    run(fan.WIDTH)
    commits = _commits(postgres, url) - before
    sides = {"wide": lambda: run(fan.WIDTH), "narrow": lambda: run(1), "bare": lambda: _bare_fan(postgres, commits)}
    turns = in_turns(rounds, sides)
    wide, narrow = spent(turns["wide"]), spent(turns["narrow"])
    return Row(
        what="ledger on PostgreSQL: one task in a fan of 1,000",
        measured=(wide.wall_s - narrow.wall_s) / (fan.WIDTH - 1),
        floor=median(turns["bare"]) / fan.WIDTH,
        bar=FAN_BAR_S,
        floor_is=f"bare psycopg: 3 events, 2 rows and a result for each task, in {commits} commits",
        note=f"the runs take {amount(wide.wall_s, 's')} and {amount(narrow.wall_s, 's')};"
        f" a task {amount((wide.cpu_s - narrow.cpu_s) / (fan.WIDTH - 1), 's')} of cpu, the server's not counted",
    )


def _commits(postgres: Postgres, url: str) -> int:
    """Count the transactions of a database so far that wrote events: as many as there are of their stamps."""
    return int(postgres.query("select count(distinct xmin::text) from events", url.rpartition("/")[2]))


def _bare_fan(postgres: Postgres, commits: int) -> float:
    """Return the seconds that the rows of the fan take, in so many commits."""
    url = postgres.database()
    connect(url).close()
    tasks = fan.WIDTH // commits + 1
    with closing(psycopg.connect(url, autocommit=True)) as db:
        began = time.perf_counter()
        for tick in range(commits):
            _bare_tick(db, 1, tick, events=3 * tasks, tasks=tasks)
        return time.perf_counter() - began


def _bare_tick(db: psycopg.Connection, run: int, tick: int, *, events: int, tasks: int) -> None:
    """Insert what a tick has, in one round trip."""
    names = [f"{tick}-{i}" for i in range(tasks)]
    task = """insert into tasks (run, name, ordinal, stage, kind, state, attempts, started, seconds, load_s, save_s,
        usd, reason, key, code, inputs, out)
        values (%s, %s, 0, 'work', 'stage', %s, 1, 0, 0, 0, 0, 0, '', %s, %s, %s, %s)
        on conflict (run, name) do update set state = excluded.state, out = excluded.out"""
    with db.pipeline(), db.cursor() as cursor:
        db.execute("begin")
        bodies = [(run, tick * events + i, bytes(100)) for i in range(events)]
        cursor.executemany("insert into events values (%s, %s, %s)", bodies)
        for state in ("running", "succeeded"):
            cursor.executemany(task, [(run, each, state, "k" * 64, "c" * 64, bytes(60), bytes(120)) for each in names])
        made = [(f"{run}-{each}", run, each, 0.0, bytes(120)) for each in names]
        cursor.executemany("insert into results (key, run, task, at, out) values (%s, %s, %s, %s, %s)", made)
        db.execute("commit")


# -- many drivers -------------------------------------------------------------------------------------------------

DRIVER = f"""
import sys
from headrace.place.share import grant
from headrace.ledger.ledger import Ledger
from headrace.run.ports import Batch, ResultRow, RunRow, TaskRow, Want
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
pool = Pool(name="here", cpu=8, memory_gib=32, gpus=0)
out = Ref(digest="d" * 64, size=1, codec="json", type="builtins.int", inline=b"1")
want = Want(pool="here", cpu=8, memory_gib=0, gpus=0, used_cpu=0, used_memory_gib=0, used_gpus=0, least_cpu=1)
with Ledger(sys.argv[1], pools=[pool], share=grant) as ledger, ledger.open_run("flights") as run:
    run.commit(Batch(first=0, bodies=[b"o"], run=RunRow(pipeline="f", state="running", created=0.0, bundle="b" * 64)))
    print("ready", flush=True)
    sys.stdin.readline()
    for tick in range({TICKS}):
        names = [f"{{tick}}-{{i}}" for i in range({TASKS})]
        run.results([f"{{run.run}}-{{name}}" for name in names])
        rows = [TaskRow(ordinal=0, name=each, stage="s", kind="k", state="succeeded", reason="r") for each in names]
        made = [ResultRow(key=f"{{run.run}}-{{each}}", task=each, out=out) for each in names]
        run.commit(Batch(first=run.next_seq, bodies=[bytes(100)] * {EVENTS}, tasks=rows, results=made))
        if tick % 5 == 0:
            run.inbox()
            run.grant(want)
    print("done", flush=True)
    sys.stdin.readline()
"""

BARE = f"""
import sys
import psycopg
from bench.ledger import _bare_tick
db = psycopg.connect(sys.argv[1], autocommit=True)
print("ready", flush=True)
sys.stdin.readline()
for tick in range({TICKS}):
    _bare_tick(db, int(sys.argv[2]), tick, events={EVENTS}, tasks={TASKS})
print("done", flush=True)
sys.stdin.readline()
db.close()
"""


def _drivers(postgres: Postgres, rounds: int) -> Row:
    before = _cpu_s()
    turns = in_turns(rounds, {"ours": lambda: _together(postgres, DRIVER)})
    cpu_s = (_cpu_s() - before) / (rounds * DRIVERS * TICKS * EVENTS)
    turns |= in_turns(rounds, {"bare": lambda: _together(postgres, BARE)})
    deadlocks = postgres.query("select sum(deadlocks) from pg_stat_database")
    ours = median(turns["ours"])
    return Row(
        what=f"ledger on PostgreSQL: one event, when {DRIVERS} drivers write at the same time",
        measured=ours,
        floor=median(turns["bare"]),
        bar=DRIVERS_BAR_S,
        bar_is="1 / 3,000 s",
        floor_is=f"{DRIVERS} processes that insert the same rows with psycopg alone",
        note=f"{1 / ours:.0f} events a second together; deadlocks: {deadlocks}; an event {amount(cpu_s, 's')} of cpu in"
        " all drivers, their start included",
    )


def _cpu_s() -> float:
    """Return the seconds of cpu that processes have taken which this one began and saw end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _together(postgres: Postgres, code: str) -> float:
    """Have as many processes write at once; return the seconds by events of them all."""
    url = postgres.database()
    connect(url).close()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            text=True,
        )
        for number in range(DRIVERS)
    ]
    for child in children:
        _hear(child, "ready")
    began = time.perf_counter()
    for child in children:
        _tell(child)
    for child in children:
        _hear(child, "done")
    took = time.perf_counter() - began
    for child in children:
        _tell(child)
        child.communicate()
    return took / (DRIVERS * TICKS * EVENTS)


def _tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def _hear(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdout is not None
    if child.stdout.readline().strip() != word:
        raise RuntimeError(f"a process that was to be `{word}` has ended")
