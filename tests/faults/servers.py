"""Disturbances of servers: killed ones, an S3 that answers badly, lines that are cut, held and slow."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

from tests.faults.grounds import Ground
from tests.faults.rounds import HURRY_S, Disturbance, Round, kill
from tests.servers.line import Line
from tests.servers.proxy import Fault, Kind, Proxy


class KillPostgres(Disturbance):
    """PostgreSQL is killed with all its processes, and started again."""

    name = "kill PostgreSQL"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.ledger == "postgres"

    def strike(self, now: Round) -> None:
        now.world.postgres.kill()

    def heal(self, now: Round) -> None:
        if now.world.postgres.pid is None:
            now.world.postgres.start()


class SuspendPostgres(Disturbance):
    """PostgreSQL is stopped with all its processes, and goes on later: connections stay, and nobody is answered."""

    name = "suspend PostgreSQL"

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.ledger == "postgres"

    def strike(self, now: Round) -> None:
        now.world.postgres.suspend()

    def heal(self, now: Round) -> None:
        now.world.postgres.go_on()


class SuspendS3(Disturbance):
    """SeaweedFS is stopped, and goes on later."""

    name = "suspend SeaweedFS"
    weight = 0.5

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.store == "s3"

    def strike(self, now: Round) -> None:
        if now.world.s3.pid is not None:
            os.kill(now.world.s3.pid, signal.SIGSTOP)

    def heal(self, now: Round) -> None:
        if now.world.s3.pid is not None:
            os.kill(now.world.s3.pid, signal.SIGCONT)


class KillS3(Disturbance):
    """SeaweedFS is killed, and started again."""

    name = "kill SeaweedFS"
    weight = 0.5

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.store == "s3"

    def strike(self, now: Round) -> None:
        now.world.s3.kill()

    def heal(self, now: Round) -> None:
        if now.world.s3.pid is None:
            now.world.s3.start()


class BadS3(Disturbance):
    """S3 answers badly for a while: to all requests, or to some."""

    weight = 0.4
    uses = frozenset({"s3"})
    kind: ClassVar[Kind]

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.store == "s3"

    def ready(self, now: Round) -> None:
        self._proxy = Proxy(now.world.s3.port, seed=now.rng.randrange(1 << 30))
        now.project.environment["HEADRACE__STORE__ENDPOINT"] = self._proxy.endpoint

    def strike(self, now: Round) -> None:
        self._proxy.fault = Fault(self.kind, share=now.rng.choice([0.2, 0.5, 1.0]), seconds=now.rng.uniform(0.1, 1.0))

    def heal(self, now: Round) -> None:
        self._proxy.fault = None

    def clear(self, now: Round) -> None:
        self._proxy.stop()


class S3Says500(BadS3):
    """Nothing is done, and an error said."""

    name = "S3 says 500"
    kind = "500"


class S3Says503(BadS3):
    """S3 wants less to do."""

    name = "S3 says 503"
    kind = "503"


class S3DoesAndSays500(BadS3):
    """All is done, and an error said."""

    name = "S3 obeys but says 500"
    kind = "late 500"


class S3IsSlow(BadS3):
    """Answers take long."""

    name = "S3 is slow"
    kind = "slow"


class S3Truncates(BadS3):
    """Bodies, sent or received, break off."""

    name = "S3 truncates"
    kind = "truncated"


class S3Resets(BadS3):
    """Connections break off, and nothing is done."""

    name = "S3 resets"
    kind = "reset"


class BadLine(Disturbance):
    """The line between PostgreSQL and all others is not as it should be."""

    weight = 0.6
    uses = frozenset({"ledger"})

    @classmethod
    def fits(cls, ground: Ground) -> bool:
        return ground.ledger == "postgres"

    def ready(self, now: Round) -> None:
        self.line = Line(now.world.postgres.port)
        through = now.place.ledger.replace(f":{now.world.postgres.port}/", f":{self.line.port}/")
        now.project.environment["HEADRACE__LEDGER__URL"] = through

    def heal(self, now: Round) -> None:
        self.line.heal()

    def clear(self, now: Round) -> None:
        self.line.stop()


class LineCut(BadLine):
    """Connections to PostgreSQL end, and new ones too."""

    name = "ledger connection cut"

    def strike(self, now: Round) -> None:
        self.line.cut()


class LineHeld(BadLine):
    """Nothing comes through to PostgreSQL, or back, for a while."""

    name = "ledger connection held"

    def strike(self, now: Round) -> None:
        self.line.hold()


class LineRefuses(BadLine):
    """PostgreSQL takes no new connections for a while; those that there are go on."""

    name = "ledger connection refused"

    def strike(self, now: Round) -> None:
        self.line.refuse(after=now.rng.randrange(3))


class LeftHung(BadLine):
    """Nothing comes through to PostgreSQL, and the user wants to leave: a second ^C needs no server."""

    name = "leave a hung ledger"

    def strike(self, now: Round) -> None:
        assert now.driver is not None
        self.line.hold()
        began = time.monotonic()
        for _ in range(2):
            kill(now.driver.pid, signal.SIGINT)
            time.sleep(0.1)  # one that comes while another is pending is none
        while now.driver.poll() is None and time.monotonic() - began < HURRY_S:
            time.sleep(0.05)
        if now.driver.poll() is None:
            now.outcome.problems.append(f"it is there {HURRY_S:g} s after a second ^C, since its ledger says nothing")


class LineSlow(BadLine):
    """Each word to PostgreSQL, and each answer, takes long."""

    name = "ledger connection slow"

    def strike(self, now: Round) -> None:
        self.line.slow(now.rng.uniform(0.005, 0.05))
