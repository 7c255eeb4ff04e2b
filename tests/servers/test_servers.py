"""The servers of tests are real ones: they refuse a wrong password, and come back from a kill with what they kept."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread

import obstore
import psycopg
import pytest
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import S3Store

from tests.servers.line import Line
from tests.servers.postgres import Postgres
from tests.servers.proxy import KINDS, Fault, Kind, Proxy
from tests.servers.s3 import KEY, S3, SECRET


def test_postgres_wants_the_password(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url("postgres", password="wrong"))


def test_postgres_keeps_what_was_committed_when_it_is_killed(postgres: Postgres) -> None:
    url = postgres.database()
    with psycopg.connect(url) as db:
        db.execute("create table kept (number int)")
        db.execute("insert into kept values (3)")
    postgres.kill()
    postgres.start()
    with psycopg.connect(url) as db:
        assert db.execute("select number from kept").fetchall() == [(3,)]


def test_s3_wants_the_right_signature(s3: S3) -> None:
    bucket = s3.bucket()
    with pytest.raises(PermissionDeniedError):
        obstore.put(_store(s3, bucket, "wrong"), "a", b"1")
    obstore.put(_store(s3, bucket, SECRET), "a", b"1")


def _store(s3: S3, bucket: str, secret: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=secret,
        client_options={"allow_http": True},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_proxy_of_s3_does_what_bad_days_do_and_then_no_more(s3: S3, kind: Kind) -> None:
    bucket = s3.bucket()
    with Proxy(s3.port) as proxy:
        store = S3Store(
            bucket,
            endpoint=proxy.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
        )
        obstore.put(store, "a", b"12345678" * 1000)
        assert proxy.befallen == 0
        proxy.fault = Fault(kind, seconds=0.2)
        if kind == "slow":
            assert len(obstore.get(store, "a").bytes()) == 8000
        else:
            with pytest.raises(BaseError):
                obstore.get(store, "a").bytes()
            with pytest.raises(BaseError):
                obstore.put(store, "b", b"12345678" * 1000)
        proxy.fault = None
        assert proxy.befallen >= 1
        there = {each["path"] for chunk in obstore.list(store) for each in chunk}
        assert there == ({"a", "b"} if kind == "late 500" else {"a"})


def test_a_line_can_be_cut_held_and_healed(postgres: Postgres) -> None:
    url = postgres.database()
    with Line(postgres.port) as line:
        through = url.replace(f":{postgres.port}/", f":{line.port}/")
        with psycopg.connect(through, autocommit=True) as db:
            line.hold()
            thread = Thread(target=lambda: db.execute("create table made (number int)"))
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
            line.heal()
            thread.join()
            line.cut()
            with pytest.raises(psycopg.OperationalError):
                db.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(through)
        line.heal()
        with psycopg.connect(through) as db:
            assert db.execute("select count(*) from made").fetchone() == (0,)
