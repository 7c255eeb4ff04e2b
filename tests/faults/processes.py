"""Disturbances of processes: drivers and workers killed, interrupted, stopped."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

from tests.faults.grounds import Ground
from tests.faults.rounds import PATIENCE_S, Disturbance, Round, kill
from tests.projects import finish, wait_for


class KillDriver(Disturbance):
    """The driver is killed."""

    name = "kill driver"
    weight = 2.0

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        now.driver.kill()


class KillWorker(Disturbance):
    """One of the processes that the driver has begun is killed, or two."""

    name = "kill worker"
    weight = 2.0

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.backend == "local"

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        for _ in range(now.rng.choice([1, 1, 2])):
            # bubblewrap, killed while it makes a namespace, leaves a child of its own that waits for it without end
            pids = sorted(pid for pid, words in now.processes() if pid != now.driver.pid and "bwrap" not in words)
            if pids:
                kill(now.rng.choice(pids))


class StopZygote(Disturbance):
    """A process that begins workers, or a worker, is stopped, and never goes on: what says nothing is ended."""

    name = "stop zygote"
    stops = True

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.backend == "local"

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        pids = [pid for pid, words in now.processes() if "headrace.work" in words and "bwrap" not in words]
        if pids:  # the first is the parent of the others
            kill(min(pids), signal.SIGSTOP)


class KillAll(Disturbance):
    """All processes are killed at once."""

    name = "kill all"

    def strike(self, now: Round) -> None:
        for pid, words in now.processes():
            if "bwrap" not in words:
                kill(pid)


class Interrupt(Disturbance):
    """The driver is told to end, by ^C or in another way, once or twice."""

    name = "interrupt"

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        number = now.rng.choice([signal.SIGINT, signal.SIGTERM])
        for _ in range(now.rng.choice([1, 2])):
            kill(now.driver.pid, number)


LOG = """
create table writes (id bigserial, who text, what text);
create function note_write() returns trigger language plpgsql as $$ begin
  insert into public.writes (who, what)
    values (current_setting('application_name'), tg_op || ' ' || tg_table_name);
  return null;
end $$;
do $$ declare each record; begin
  for each in select tablename from pg_tables where schemaname = 'public' and tablename <> 'writes' loop
    execute format('create trigger note after insert or update or delete on %I
      for each row execute function note_write()', each.tablename);
  end loop;
end $$;
"""
"""Has the server itself write down who has written each row, in the transaction that writes it."""


class StopDriver(Disturbance):
    """The driver is stopped, another one takes its lease, and then the first goes on: it may write no row any more."""

    name = "stop driver"
    weight = 2.0
    uses = frozenset({"ledger"})

    def __init__(self) -> None:
        self._second: subprocess.Popen[str] | None = None

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.ledger == "postgres"

    def ready(self, now: Round) -> None:
        self._database = now.place.ledger.rpartition("/")[2]
        now.world.postgres.query(LOG, self._database)
        now.project.environment["HEADRACE__LEDGER__URL"] = f"{now.place.ledger}?application_name=first"

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        now.driver.send_signal(signal.SIGSTOP)
        url = f"{now.place.ledger}?application_name=second"
        now.project.environment["HEADRACE__LEDGER__URL"] = url
        run, state = now.newest()
        holds = f"select count(*) from leases where name = '{run}' and pid = {now.driver.pid}"
        is_held = run and now.world.postgres.query(holds, self._database) == "1"
        if not is_held or state == "succeeded" or now.driver.poll() is not None:
            now.outcome.hit = False
            return
        if now.hurries:
            now.expire(run)
        self._run = run
        self._second = now.start("resume", run)
        if now.rng.random() < 0.5:  # the first goes on when the second is done, or in the midst
            self._finish(now)
        else:
            taken = "select count(*) from writes where who = 'second' and what like '% leases'"
            wait_for(lambda: now.world.postgres.query(taken, self._database) != "0", PATIENCE_S)

    def heal(self, now: Round) -> None:
        if now.driver is not None and now.driver.poll() is None:
            now.driver.send_signal(signal.SIGCONT)

    def _finish(self, now: Round) -> None:
        """Wait for the end of the second. What the first had sent already may renew its lease once more: then again."""
        while self._second is not None:
            process, self._second = self._second, None
            done = finish(process, PATIENCE_S)
            if done.code == 2 and "is held by" in done.err:
                self._second = now.start("resume", self._run)
            else:
                now.note(process, done)

    def verdict(self, now: Round) -> Iterator[str]:
        self._finish(now)
        late = now.world.postgres.query(
            "select id, what from writes where who = 'first' and id > (select min(id) from writes"
            " where who = 'second' and what like '% leases') order by id",
            self._database,
        )
        if late:
            yield f"the first driver went on to write: {late}"
