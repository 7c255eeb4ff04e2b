"""How the runs of one ledger share a pool."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from headrace.errors import LedgerError
from headrace.ledger.ledger import Ledger
from tests.ledger.samples import POOL, open_ledger, want


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


def test_a_run_alone_gets_the_whole_pool_in_its_first_call(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        found = run.grant(want(1))
    assert (found.pool, found.cpu, found.memory_gib, found.gpus) == ("here", POOL.cpu, POOL.memory_gib, POOL.gpus)


def test_a_grant_expires_by_the_ledgers_clock(address: str) -> None:
    with open_ledger(address, clock=lambda: 1000.0) as ledger, ledger.open_run("flights") as run:
        assert run.grant(want(1)).expires > 1000.0


def test_a_second_run_gets_its_share_once_the_first_has_asked_again(ledger: Ledger) -> None:
    with ledger.open_run("flights") as one, ledger.open_run("flights") as two:
        assert one.grant(want(8, least=1)).cpu == 8
        assert two.grant(want(8, least=1)).cpu == 0
        assert one.grant(want(8, used=2, least=1)).cpu == 4
        assert two.grant(want(8, least=1)).cpu == 4


def test_a_run_that_closed_leaves_its_share_to_the_others(ledger: Ledger) -> None:
    with ledger.open_run("flights") as one:
        with ledger.open_run("flights") as two:
            two.grant(want(8))
            assert one.grant(want(8)).cpu == 0
        assert one.grant(want(8)).cpu == 8


def test_a_killed_runs_grant_is_dropped(address: str, ledger: Ledger) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from tests.ledger.samples import *
        hold_briefly()
        ledger = open_ledger(sys.argv[1])
        print(ledger.open_run("flights").grant(want(8)).cpu, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), address], stdout=subprocess.PIPE, text=True, check=False
    )
    assert float(child.stdout) == 8
    while ledger.leases.held(ledger.leases.all()):
        pass  # where a clock ends them, within a second
    with ledger.open_run("flights") as run:
        assert run.grant(want(8)).cpu == 8


def test_a_clock_that_jumps_takes_no_live_runs_grant(address: str) -> None:
    times = iter([1000.0, 9e9, 9e9, 9e9])
    with (
        open_ledger(address, clock=times.__next__) as ledger,
        open_ledger(address, clock=lambda: 9e9) as late,
        ledger.open_run("flights") as one,
        late.open_run("flights") as two,
    ):
        one.grant(want(8))
        assert two.grant(want(8)).cpu == 0


def test_the_run_that_was_served_longest_ago_comes_first(ledger: Ledger) -> None:
    with ledger.open_run("flights") as whole, ledger.open_run("flights") as small:
        assert whole.grant(want(8, least=8)).cpu == 8
        small.grant(want(8, least=1))
        assert whole.grant(want(8, used=0, least=8)).cpu == 0, "its attempt has ended: the other's turn"
        assert small.grant(want(8, least=1)).cpu == 8
        assert whole.grant(want(8, used=0, least=8)).cpu == 0
        assert small.grant(want(8, used=3, least=1)).cpu == 3, "it may not grow, so that the other gets its turn"
        assert small.grant(want(0)).cpu == 0
        assert whole.grant(want(8, used=0, least=8)).cpu == 8


def test_an_unknown_pool_is_an_error(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run, pytest.raises(LedgerError, match="no pool `there`"):
        run.grant(want(1, pool="there"))


def test_runs_of_many_processes_never_get_more_than_the_pool_together(address: str) -> None:
    code = """
        import random, sys
        from pathlib import Path
        from tests.ledger.samples import *
        held = 0.0
        with open_ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
            for _ in range(100):
                used = random.randint(0, int(held))
                held = run.grant(want(random.randint(used, 20), used=used, least=random.choice([0, 1, 3, 8]))).cpu
                total = ledger._db.execute("select sum(cpu) from grants").fetchone()[0]
                assert total <= POOL.cpu + 1e-9, total
    """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), address]) for _ in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
