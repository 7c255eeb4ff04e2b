"""What only a server brings: leases by its clock, broken connections, others in the way, errors of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from headrace.errors import ConfigError, LeaseHeld, LeaseLost, LedgerError, LedgerUnreachable, UsageError
from headrace.ledger import cursors
from headrace.ledger.database import lease_rows, opening, postgres, postgres_link, postgres_opening
from headrace.ledger.database.address import masked
from headrace.ledger.database.database import Database, Rows
from headrace.ledger.database.postgres import PostgresDatabase
from headrace.ledger.ledger import Ledger
from headrace.ledger.standing.declaration import Row, Standing
from headrace.ledger.upkeep import merge
from headrace.ledger.views.tracking import TrackingViews
from headrace.ledger.views.views import Views
from headrace.operate.progress import wait_notice
from headrace.operate.progress.wait_notice import looking_out
from headrace.spec.artifact import Ref
from headrace.spec.intent import Advance, Register
from tests.ledger.samples import after, blob, edit, first, free, open_ledger, result, rows, run_row, task_row, want
from tests.ledger.test_moving import archive_of, bring
from tests.projects import wait_for
from tests.servers.line import Line
from tests.servers.postgres import PASSWORD, Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as ledger:
        yield ledger


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that a test may kill."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "server")
        yield server
        server.stop()


# -- leases -------------------------------------------------------------------------------------------------------

DRIVE = """
    import sys
    from headrace.errors import LeaseLost
    from tests.ledger.samples import *
    hold_briefly()
    run = open_ledger(sys.argv[1]).open_run("flights")
    run.commit(first([b"0"]))
    print(run.run, flush=True)
    try:
        while True:
            n = run.next_seq
            made = [result(blob("x"), f"k{n}")]
            run.commit(after(run, b"%d" % n, tasks=[task_row(f"t{n}", ordinal=n)], results=made))
            run.grant(want(1))
            print(run.next_seq, flush=True)
    except LeaseLost as error:
        print("lost:", error.message, flush=True)
"""


def test_a_driver_that_was_stopped_writes_not_one_row_after_its_lease_was_taken(ledger: Ledger) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVE), str(ledger.address)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        run_id = child.stdout.readline().strip()
        for _ in range(20):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGSTOP)
        with ledger.take(run_id, holder="the other") as run:
            assert run.next_seq >= acknowledged
            run.commit(after(run, b"taken"))
            stored = {table: rows(ledger, f"select count(*) from {table}") for table in ("events", "tasks", "results")}
            child.send_signal(signal.SIGCONT)
            rest = child.stdout.read()
            assert "lost: another driver has taken run" in rest
            assert child.wait() == 0
            for table, count in stored.items():
                assert rows(ledger, f"select count(*) from {table}") == count
            assert list(run.events())[-1] == b"taken"
            assert ledger.holder(run_id) is not None, "the old driver leaves the lease of the new one alone"


def test_a_driver_that_is_stopped_counts_for_the_collector_until_it_is_fenced_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVE), str(ledger.address)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        run_id = child.stdout.readline().strip()
        child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: not ledger.leases.held([run_id]))
        ledger.leases.tidy()
        assert list(ledger.leases.all()) == [run_id], "it would go on, and may have looked something up"
        monkeypatch.setattr(lease_rows, "FORGOTTEN_S", 0.0)
        ledger.leases.tidy()
        assert list(ledger.leases.all()) == []
        child.send_signal(signal.SIGCONT)
        assert "lost: " in child.stdout.read()
    finally:
        child.kill()
        child.communicate()


def test_a_driver_that_is_busy_with_something_else_keeps_its_lease(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_rows, "TERM_S", 1.0)
    with ledger.open_run("flights") as run:
        run.commit(first())
        ((before,),) = rows(ledger, "select expires from leases")
        wait_for(lambda: rows(ledger, f"select now() > '{before}'::timestamptz") == [(True,)])
        with pytest.raises(LeaseHeld):
            ledger.take(run.run)
        run.commit(after(run, b"still"))


def test_a_driver_that_only_looks_learns_that_its_lease_is_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_rows, "RENEW_S", 0.0)
    run = ledger.open_run("flights")
    run.commit(first())
    free(ledger, run.run)
    with ledger.take(run.run):
        with pytest.raises(LeaseLost):
            run.inbox()
        with pytest.raises(LeaseLost):
            run.grant(want())
    run.close()


HANG = """
    import sys, time
    from tests.ledger.samples import *
    hold_briefly()
    run = open_ledger(sys.argv[1]).open_run("flights")
    run.commit(first())
    with run._db.transaction():
        for text in sys.argv[2:]:
            run._db.execute(text)
        run._lease.check()
        run._db.execute("UPDATE runs SET why = 'stuck' WHERE id = %s", (run.run,))
        run._db.execute(run._db.sql.RUN_BY_ID, (run.run,)).fetchone()
        print(run.run, flush=True)
        time.sleep(1000)
"""


def test_a_driver_that_was_stopped_in_the_midst_of_a_transaction_does_not_keep_its_lease(ledger: Ledger) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANG), str(ledger.address)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, ExitStack() as exits:
        exits.callback(child.kill)
        run_id = child.stdout.readline().strip()
        child.send_signal(signal.SIGSTOP)
        found = rows(ledger, "select state from pg_stat_activity where backend_xid is not null")
        assert found == [("idle in transaction",)], "so that the server ends it by itself, too"
        with ledger.take(run_id) as run:
            run.commit(after(run, b"taken"))


def test_a_driver_that_was_stopped_in_the_midst_of_a_transaction_keeps_no_collector_waiting(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_rows, "FORGOTTEN_S", 0.0)
    patient = "SET LOCAL idle_in_transaction_session_timeout TO 0"  # as when more of a pipeline was to come
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANG), str(ledger.address), patient], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, ExitStack() as exits:
        exits.callback(child.kill)
        run_id = child.stdout.readline().strip()
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: not ledger.leases.held([run_id]))
        ledger.leases.tidy()
        assert rows(ledger, "select state from pg_stat_activity where backend_xid is not null") == []
        assert list(ledger.leases.all()) == []


def test_a_driver_that_lost_its_lease_leaves_the_claims_of_the_other_alone(ledger: Ledger) -> None:
    old = ledger.open_run("flights")
    old.commit(first())
    old.grant(want(2))
    free(ledger, old.run)
    with ledger.take(old.run) as new:
        new.grant(want(3))
        claims = rows(ledger, "select * from grants")
        with pytest.raises(LeaseLost):
            old.grant(want(4))
        old.close()
        assert rows(ledger, "select * from grants") == claims


def test_the_lease_of_a_run_without_a_row_is_held_and_fenced_too(ledger: Ledger) -> None:
    run = ledger.open_run("flights")
    assert ledger.holder(run.run) is not None
    free(ledger, run.run)
    with closing(ledger.connect()) as db:
        other = db.leases.acquire(run.run)
        with pytest.raises(LeaseLost):
            run.commit(first())
        assert rows(ledger, "select * from runs") == []
        other.release()
    run.close()


def test_a_lease_that_nobody_took_is_still_its_holders_after_it_ran_out(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        edit(ledger, "update leases set expires = now() - interval '1 s'")
        assert ledger.holder(run.run) is None
        run.commit(after(run, b"late, but first"))
        assert ledger.holder(run.run) is not None


# -- broken connections -------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_and_started_again_is_waited_for_and_nothing_is_stored_twice(own: Postgres) -> None:
    url = own.database()
    with open_ledger(url) as ledger, ledger.open_run("flights") as run:
        run.commit(first([b"0"]))
        written = threading.Event()

        def drive() -> None:
            for n in range(1, 300):
                run.commit(after(run, b"%d" % n, tasks=[task_row(f"t{n}", ordinal=n)]))
                run.inbox()
                run.result("key")
                if n == 20:
                    written.set()

        driver = threading.Thread(target=drive)
        driver.start()
        for _ in range(3):
            assert written.wait(60)
            own.kill()
            own.start()
        driver.join(90)
        assert not driver.is_alive()
        assert list(run.events()) == [b"%d" % n for n in range(300)]
        assert rows(ledger, "select count(*) from tasks") == [(299,)]


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_commit_whose_end_nobody_heard_of_is_stored_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, after_commit: bool
) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
        db = run._db
        assert isinstance(db, PostgresDatabase)
        (backend,) = db.execute("select pg_backend_pid()").fetchall()[0]
        whole, times = db.transaction, iter([True])

        def cut() -> None:
            with closing(psycopg.connect(str(ledger.address), autocommit=True)) as other:
                other.execute("select pg_terminate_backend(%s, 5000)", (backend,))

        @contextmanager
        def breaking(*, durable: bool = True) -> Iterator[None]:
            breaks = next(times, False)
            with whole(durable=durable):
                yield
                if breaks and not after_commit:
                    cut()
            if breaks:
                db._link.close()
                raise psycopg.OperationalError("the answer was lost")

        monkeypatch.setattr(db, "transaction", breaking)
        run.commit(after(run, b"once", tasks=[task_row()], results=[result(blob("model"))]))
        assert list(run.events()) == [b"opened", b"once"]
        run.commit(after(run, b"twice"))
        assert list(run.events()) == [b"opened", b"once", b"twice"]


def test_a_server_that_stays_away_is_one_clear_error(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.3)
    with open_ledger(own.database()) as ledger, ledger.open_run("flights") as run:
        run.commit(first())
        own.stop()
        with pytest.raises(LedgerError, match=r"can't be reached \(tried for 0.3 s\)") as caught:
            run.commit(after(run, b"lost"))
        assert "resume" in (caught.value.hint or "")
        assert PASSWORD not in str(caught.value)
        own.start()
        run.commit(after(run, b"found"))
        assert list(run.events()) == [b"opened", b"found"]
        own.stop()
    own.start()


# -- others in the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["held", "stopped"])
def test_a_server_that_says_nothing_is_one_clear_error_within_a_time_that_is_told(
    own: Postgres, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(postgres_link, "LOOK_S", 0.3)
    monkeypatch.setattr(postgres_link, "REACH_S", 2)
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.5)
    with Line(own.port) as line:
        url = own.database().replace(f":{own.port}/", f":{line.port}/") + "?connect_timeout=2"
        with open_ledger(url) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
            line.hold() if how == "held" else own.suspend()
            told: list[str] = []
            try:
                with looking_out(told.append, look_s=0.05), pytest.MonkeyPatch.context() as soon:
                    soon.setattr(wait_notice, "SAY_S", 0.2)
                    with pytest.raises(LedgerUnreachable, match=r"can't be reached \(tried for 0.5 s\)"):
                        run.commit(after(run, b"1"))
            finally:
                line.heal()
                own.go_on()
            assert "waiting for an answer of the ledger `postgresql://postgres:***@" in told[0]


def test_a_statement_that_takes_long_is_waited_for_as_long_as_its_server_lives(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "LOOK_S", 0.2)
    with closing(PostgresDatabase(url)) as db:
        assert db.execute("SELECT pg_sleep(1.5)::text").fetchall() == [("",)]


def test_an_answer_that_is_under_way_is_what_is_waited_for_and_no_session_is_lost_for_a_pause(
    own: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "LOOK_S", 0.3)
    with Line(own.port) as line:
        url = own.database().replace(f":{own.port}/", f":{line.port}/")
        with open_ledger(url) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
            line.hold()
            threading.Timer(1.0, line.heal).start()
            run.commit(after(run, b"1"))
            assert [bytes(each) for each in run.events()] == [b"opened", b"1"]


def test_sixteen_drivers_that_give_the_same_results_meet_no_deadlock(ledger: Ledger) -> None:
    code = """
        import random, sys
        from tests.ledger.samples import *
        sys.stdin.readline()
        with open_ledger(sys.argv[1]) as ledger, ledger.open_run("flights") as run:
            run.commit(first())
            keys = [f"k{i}" for i in range(40)]
            for i in range(15):
                random.shuffle(keys)
                made = [result(blob(key), key) for key in keys[:20]]
                run.commit(after(run, *[b"e"] * 20, tasks=[task_row(key) for key in keys[:20]], results=made))
                run.grant(want(8, least=1))
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(ledger.address)], stdin=subprocess.PIPE, text=True
        )
        for _ in range(16)
    ]
    for child in children:
        child.communicate("go\n")
    assert [child.returncode for child in children] == [0] * 16
    assert rows(ledger, "select count(*) from events") == [(16 * (1 + 15 * 20),)]
    assert rows(ledger, "select deadlocks from pg_stat_database where datname = current_database()") == [(0,)]


def test_what_meets_a_deadlock_is_done_again(url: str) -> None:
    opening.connect(url).close()
    with closing(PostgresDatabase(url)) as one, closing(PostgresDatabase(url)) as two:
        one.executemany(one.sql.PUT_CURSOR, [("a", 1, b""), ("b", 1, b"")])
        both = threading.Barrier(2)

        def cross(db: PostgresDatabase, *names: str) -> None:
            waits = iter([True])

            def work() -> None:
                for name in names:
                    db.execute(db.sql.PUT_CURSOR, (name, 1, names[0].encode())).statusmessage  # noqa: B018
                    db.execute("select 1").fetchone()
                    if next(waits, False):
                        both.wait(20)

            db.atomically(work)

        other = threading.Thread(target=cross, args=(two, "b", "a"))
        other.start()
        cross(one, "a", "b")
        other.join(30)
        assert not other.is_alive()
        found = dict(one.execute("select name, value from cursors").fetchall())
        assert found in ({"a": b"a", "b": b"a"}, {"a": b"b", "b": b"b"})


# -- views --------------------------------------------------------------------------------------------------------


def test_watching_a_run_scans_no_table(ledger: Ledger) -> None:
    for _ in range(30):
        with ledger.open_run("flights") as run:
            run.commit(first([b"e"] * 50, tasks=[task_row(f"t{i}", ordinal=i) for i in range(100)], run=run_row()))
    edit(
        ledger,
        "insert into runs (id, pipeline, state, created, bundle, seconds, usd, params, why, epoch, holder)"
        " select 'r' || i, 'other', 'succeeded', 0, '', 0, 0, '{}', '', 1, '' from generate_series(1, 3000) i",
    )
    edit(ledger, "analyze")
    seen: list[tuple[str, tuple[object, ...]]] = []
    with Views(ledger.address) as views, closing(ledger.connect()) as db:
        execute = views._db.execute

        def noting(text: str, parameters: tuple[object, ...] = ()) -> Rows:
            seen.append((text, parameters))
            return execute(text, parameters)

        views._db.execute = noting  # type: ignore[method-assign]
        views.find(run.run)
        views.show(run.run)
        views.stages(run.run)
        views.states(run.run)
        views.failures(run.run)
        views.task(run.run, "t1")
        views.runs(limit=20)
        views.runs(limit=20, pipeline="flights")
        list(views.bodies(run.run))
        assert len(seen) > 12
        for text, parameters in seen:
            plan = "\n".join(line for (line,) in db.execute(f"explain {text}", parameters).fetchall())
            assert "Seq Scan on tasks" not in plan, plan
            assert "Seq Scan on runs" not in plan, plan
            assert "Seq Scan on events" not in plan, plan


# -- errors -------------------------------------------------------------------------------------------------------


def test_a_password_is_shown_nowhere(postgres: Postgres) -> None:
    for wrong in (
        postgres.url("postgres", password="very-secret"),
        "postgresql://ann:very-secret@127.0.0.1:1/x",
        "postgresql://ann:very/secret@127.0.0.1/x",
        "postgresql://ann:very%zzsecret@127.0.0.1/x",
        "postgresql://ann:very@secret@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=ann&password=very-secret",
        "postgresql://127.0.0.1:1/x?user=ann&password=very@secret",
    ):
        with pytest.raises((LedgerError, ConfigError)) as caught:
            opening.connect(wrong)
        assert "secret" not in f"{caught.value} {caught.value.hint}", wrong
        assert "secret" not in masked(wrong)


def test_the_password_may_come_from_where_libpq_looks_for_it(
    postgres: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = url.replace(f":{PASSWORD}@", "@")
    with pytest.raises(LedgerError, match="asks for a password"):
        opening.connect(bare)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    opening.connect(bare).close()
    monkeypatch.delenv("PGPASSWORD")
    kept = tmp_path / "pgpass"
    kept.write_text(f"127.0.0.1:{postgres.port}:*:postgres:{PASSWORD}\n")
    kept.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(kept))
    opening.connect(bare).close()
    monkeypatch.delenv("PGPASSFILE")
    services = tmp_path / "services"
    services.write_text(
        f"[rivers]\nhost=127.0.0.1\nport={postgres.port}\nuser=postgres\npassword={PASSWORD}\ndbname={url.rpartition('/')[2]}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    opening.connect("postgresql://?service=rivers").close()


def test_who_may_not_make_tables_is_told_so(postgres: Postgres, url: str) -> None:
    name = url.rpartition("/")[2]
    postgres.query(f"create role guest_{name} login password 'guest'")
    with pytest.raises(LedgerError, match="permission denied for schema public") as caught:
        opening.connect(postgres.url(name, user=f"guest_{name}", password="guest"))
    assert "CREATE on the schema" in (caught.value.hint or "")
    opening.connect(url).close()
    with pytest.raises(LedgerError, match="doesn't let this user"):
        opening.connect(postgres.url(name, user=f"guest_{name}", password="guest"))


def test_a_ledger_that_is_read_only_can_be_looked_at(postgres: Postgres, ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first())
    read_only = f"{ledger.address}?options=-cdefault_transaction_read_only%3Don"
    with Views(read_only) as views:
        assert len(views.runs().runs) == 1
    with open_ledger(read_only) as other, pytest.raises(LedgerError, match="read-only"):
        other.open_run("flights")
    with pytest.raises(LedgerError, match="read-only"):
        opening.connect(postgres.database() + "?options=-cdefault_transaction_read_only%3Don")


def test_tables_of_another_program_are_left_alone(url: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as theirs:
        theirs.execute("create table runs (run_uuid text)")
        theirs.execute("create table alembic_version (version_num text)")
        theirs.execute("insert into alembic_version values ('cf415c0a5e5b')")
    with pytest.raises(LedgerError, match="tables of another program") as caught:
        opening.connect(url)
    assert "search_path" in (caught.value.hint or "")
    with closing(psycopg.connect(url, autocommit=True)) as theirs:
        theirs.execute("create schema headrace")
    opening.connect(url + "?options=-csearch_path%3Dheadrace").close()


def test_another_project_is_refused_and_told_how_to_go_on(url: str) -> None:
    opening.connect(url, project="rivers").close()
    opening.connect(url, project="rivers").close()
    with pytest.raises(ConfigError, match="belongs to project `rivers`, but this is project `lakes`") as caught:
        opening.connect(url, project="lakes")
    assert 'say [project] name = "rivers"' in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="belongs to project"):
        Views(url, project="lakes")


def test_text_that_a_server_cannot_keep_is_kept_as_far_as_it_goes(ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(reason="zero \0 here")]))
        assert rows(ledger, "select reason from tasks") == [("zero \ufffd here",)]


@pytest.mark.parametrize("state", ["53100", "53300", "58030", "XX001", "42P01", "55P03"])
def test_what_a_server_says_by_a_code_is_put_into_words(state: str, ledger: Ledger) -> None:
    with closing(ledger.connect()) as db, pytest.raises(LedgerError) as caught, db.troubles():
        db.execute(f"do $$ begin raise exception 'as the server says' using errcode = '{state}'; end $$")
    assert "failed:" not in caught.value.message
    assert caught.value.hint


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_opening, "OLDEST", 990000)
    with pytest.raises(LedgerError, match=r"is PostgreSQL \d+, which is too old"):
        opening.connect(url)


def test_a_database_that_does_not_keep_all_text_is_refused(postgres: Postgres) -> None:
    name = f"latin_{os.getpid()}"
    postgres.query(f"create database {name} encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    with pytest.raises(LedgerError, match="keeps text as LATIN1"):
        opening.connect(postgres.url(name))


def test_a_ledger_on_a_server_without_psycopg_names_the_extra(url: str) -> None:
    code = """
        import sys
        sys.modules["psycopg"] = None  # as where it is not installed
        from headrace.errors import HeadraceError
        from headrace.ledger.database import opening
        for look in (opening.connect, opening.connect_to_read):
            try:
                look(sys.argv[1])
            except HeadraceError as error:
                print(error.message, error.hint)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), url], stdout=subprocess.PIPE, text=True, check=True
    )
    for told in child.stdout.splitlines():
        assert "needs `psycopg`" in told
        assert "pip install 'headrace[postgres]'" in told


def test_a_result_that_a_driver_gives_anew_while_generations_are_made_one_is_left_as_it_is(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = blob("old"), blob("new")
    with ledger.open_run("flights") as run, closing(ledger.connect()) as db:
        run.commit(first(results=[result(old)]))
        moved = merge.moved

        def and_meanwhile(ref: Ref, moves: merge.Moves) -> Ref | None:
            run.commit(after(run, results=[result(new)]))
            return moved(ref, moves)

        monkeypatch.setattr(merge, "moved", and_meanwhile)
        db.atomically(lambda: merge.point_results(db, {(old.digest, old.nonce or ""): "other"}))
        found = run.result("key")
        assert found is not None
        assert found.out == new


def test_a_preparation_that_is_added_while_generations_are_made_one_stays(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prepared = blob("model"), blob("preparation")
    with ledger.open_run("flights") as run:
        run.commit(first(results=[result(model)]))
        run.commit(after(run, intents=[("fit", Register("model", "delays", model))]))
        adding = threading.Thread(
            target=lambda: run.commit(
                after(run, intents=[("fit", Register("model", "delays", model, preparation=prepared))])
            )
        )
        moved = merge.moved

        def and_meanwhile(ref: Ref, moves: merge.Moves) -> Ref | None:
            if not adding.ident:
                adding.start()
                wait_for(lambda: not adding.is_alive() or _waits(url))
            return moved(ref, moves)

        monkeypatch.setattr(merge, "moved", and_meanwhile)
        with closing(ledger.connect()) as db:
            db.atomically(lambda: merge.point_standing(db, {(model.digest, model.nonce or ""): "other"}))
        adding.join()
    with TrackingViews(url) as views:
        (version,) = views.versions("model", "delays")
        assert version.out.nonce == "other"
        assert version.preparation == prepared


def test_a_version_that_names_no_generation_to_replace_is_not_written(ledger: Ledger, url: str) -> None:
    def written() -> object:
        with psycopg.connect(url) as looking:
            return looking.execute("select xmin from versions").fetchall()

    with ledger.open_run("flights") as run, closing(ledger.connect()) as db:
        run.commit(first(results=[result(blob("model"))]))
        run.commit(after(run, intents=[("fit", Register("model", "delays", blob("model")))]))
        before = written()
        moves = {(blob(str(n)).digest, "n1"): "other" for n in range(merge.FEW + 1)}
        db.atomically(lambda: merge.point_standing(db, moves))
    assert written() == before


def test_an_import_lets_a_run_register_a_version_after_it(
    ledger: Ledger, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path / "laptop") as laptop, laptop.open_run("old") as run:
        run.commit(first([]))
        run.commit(after(run, intents=[("fit", Register("model", "m", blob("theirs")))]))
        archive = archive_of(laptop, tmp_path / "archive")
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        asked = after(run, intents=[("fit", Register("model", "m", blob("ours")))])
        registering = threading.Thread(target=lambda: run.commit(asked))
        lacking = Standing.lacking

        def and_meanwhile(table: Standing, db: Database, rows: Sequence[Row]) -> list[Row]:
            if not registering.ident:
                registering.start()
                wait_for(lambda: not registering.is_alive() or _waits(url))
            return lacking(table, db, rows)

        monkeypatch.setattr(Standing, "lacking", and_meanwhile)
        bring(archive, ledger)
        registering.join()
    with TrackingViews(url) as views:
        assert [each.out.digest for each in views.versions("model", "m")] == [
            blob(x).digest for x in ("ours", "theirs")
        ]


def _waits(url: str) -> bool:
    with psycopg.connect(url) as watching:
        return watching.execute("select 1 from pg_locks where not granted").fetchone() is not None


def test_a_cursor_is_moved_by_hand_once_though_the_answer_was_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = ledger._db
    assert isinstance(db, PostgresDatabase)
    whole, times = db.transaction, iter([True])

    @contextmanager
    def breaking(*, durable: bool = True) -> Iterator[None]:
        with whole(durable=durable):
            yield
        if next(times, False):
            db._link.close()
            raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(db, "transaction", breaking)
    monkeypatch.setattr(db, "close", lambda: None)
    monkeypatch.setattr(ledger, "connect", lambda: db)
    cursors.advance(ledger, Advance("watermark", 0, blob("monday", None, inline=b"monday")), by="ann")
    with pytest.raises(UsageError, match="has moved on from version 0 in the meantime"):
        cursors.advance(ledger, Advance("watermark", 0, blob("other", None, inline=b"other")), by="ann")
