"""Servers that refuse, are elsewhere, or are not what they should be: one clear message, and nothing has begun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, check_error, check_json_error, lent
from tests.servers.ports import free_port
from tests.servers.postgres import PASSWORD, Postgres
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import KEY, READER_KEY, READER_SECRET, S3, SECRET, WRITER_KEY, WRITER_SECRET

PIPELINE = """
    import headrace as hr

    @hr.stage
    def table() -> list[str]:
        return ["long enough to go to the store"] * 1000

    @hr.pipeline
    def flow() -> None:
        table()
    """


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with a pipeline, whose settings come from the environment."""
    with lent(tmp_path / "project") as project:
        project.write("pipelines.py", PIPELINE)
        yield project


def test_a_wrong_password(project: Project, postgres: Postgres) -> None:
    project.environment["HEADRACE__LEDGER__URL"] = postgres.url("postgres", password="not-it")
    done = project.headrace("run", "flow")
    check_error(done, 2, "ledger", "password", "127.0.0.1", hint="PGPASSWORD")
    assert "not-it" not in done.err


def test_a_password_that_was_not_given(project: Project, postgres: Postgres) -> None:
    project.environment["HEADRACE__LEDGER__URL"] = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    check_error(project.headrace("run", "flow"), 2, "ledger", "password", hint="PGPASSWORD")


def test_a_server_that_does_not_answer(project: Project) -> None:
    port = free_port()
    project.environment["HEADRACE__LEDGER__URL"] = f"postgresql://ann:secret@127.0.0.1:{port}/rivers"
    done = project.headrace("run", "flow", "--json")
    check_json_error(done, 2, "ledger", str(port), hint="server", error="LedgerUnreachable")
    assert "secret" not in done.out
    assert "tried for" not in done.out


def test_a_host_that_there_is_not(project: Project) -> None:
    project.environment["HEADRACE__LEDGER__URL"] = "postgresql://ann@no-such-host.invalid/rivers"
    check_error(project.headrace("run", "flow"), 2, "ledger", "no-such-host.invalid")


def test_a_database_that_there_is_not(project: Project, postgres: Postgres) -> None:
    project.environment["HEADRACE__LEDGER__URL"] = postgres.url("rivers")
    check_error(project.headrace("run", "flow"), 2, "ledger", "rivers", hint="CREATE DATABASE")


def test_a_user_who_may_not_make_tables(project: Project, postgres: Postgres) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    postgres.query(f"create role guest_{name} login password 'guest'")
    postgres.query("revoke create on schema public from public", name)
    project.environment["HEADRACE__LEDGER__URL"] = postgres.url(name, user=f"guest_{name}", password="guest")
    check_error(project.headrace("run", "flow"), 2, "ledger", hint="ask for the rights: CREATE on the schema")


def test_a_ledger_of_a_newer_headrace(project: Project, postgres: Postgres) -> None:
    url = project.environment["HEADRACE__LEDGER__URL"] = postgres.database()
    assert project.headrace("run", "flow").code == 0
    postgres.query("update alembic_version set version_num = '9999'", url.rpartition("/")[2])
    check_error(project.headrace("run", "flow"), 2, "ledger", "newer", hint="pip install")


def test_a_database_of_another_program(project: Project, postgres: Postgres) -> None:
    url = project.environment["HEADRACE__LEDGER__URL"] = postgres.database()
    postgres.query("create table runs (number int)", url.rpartition("/")[2])
    check_error(project.headrace("run", "flow"), 2, "another program", hint="schema")


def test_two_projects_on_one_ledger(project: Project, postgres: Postgres, tmp_path: Path) -> None:
    url = project.environment["HEADRACE__LEDGER__URL"] = postgres.database()
    assert project.headrace("run", "flow").code == 0
    with lent(tmp_path / "another", '[project]\nname = "another"\n') as other:
        other.write("pipelines.py", PIPELINE)
        other.environment["HEADRACE__LEDGER__URL"] = url
        done = other.headrace("run", "flow")
        check_error(done, 2, "`project`", "`another`", hint="schema")
        assert PASSWORD not in done.err
    assert project.headrace("run", "flow").code == 0


def test_an_address_of_no_known_kind(project: Project) -> None:
    project.environment["HEADRACE__LEDGER__URL"] = "mysql://db/rivers"
    check_error(project.headrace("run", "flow"), 2, "mysql://db/rivers", hint="postgresql://")
    project.environment["HEADRACE__LEDGER__URL"] = "ann:secret@db.example/rivers"
    done = project.headrace("run", "flow")
    check_error(done, 2, "ann:***@db.example/rivers", hint="postgresql://")
    assert not (project.root / "ann:secret@db.example").exists()


def test_a_bucket_that_there_is_not(project: Project, s3: S3) -> None:
    reach(project, s3.endpoint, "no-such-bucket", WRITER_KEY, WRITER_SECRET)
    check_error(project.headrace("run", "flow"), 2, "no bucket `no-such-bucket`", hint="make the bucket")


def test_a_key_that_may_only_read(project: Project, s3: S3) -> None:
    reach(project, s3.endpoint, s3.bucket(), READER_KEY, READER_SECRET)
    done = project.headrace("run", "flow")
    check_error(done, 2, "store", "write", hint="s3:PutObject")
    assert READER_SECRET not in done.err


def test_a_key_that_is_wrong(project: Project, s3: S3) -> None:
    reach(project, s3.endpoint, s3.bucket(), KEY, "not-the-secret")
    done = project.headrace("run", "flow")
    check_error(done, 2, "store", hint="AWS_SECRET_ACCESS_KEY")
    assert "not-the-secret" not in done.err


def test_a_key_that_has_expired(project: Project, s3: S3) -> None:
    with Proxy(s3.port) as proxy:
        proxy.fault = Fault("answer", status=400, code="ExpiredToken", detail="The provided token has expired.")
        reach(project, proxy.endpoint, s3.bucket())
        check_error(project.headrace("run", "flow"), 2, "store", "expired", hint="sign in")


def test_a_bucket_of_another_region(project: Project, s3: S3) -> None:
    with Proxy(s3.port) as proxy:
        proxy.fault = Fault(
            "answer", status=400, code="AuthorizationHeaderMalformed", detail="<Region>eu-central-1</Region>"
        )
        reach(project, proxy.endpoint, s3.bucket())
        check_error(project.headrace("run", "flow"), 2, "store", "eu-central-1", hint="region")


def test_a_store_that_does_not_answer(project: Project) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    reach(project, endpoint, "models")
    check_error(project.headrace("run", "flow"), 2, "store", endpoint, hint="endpoint")


def test_a_cluster_that_does_not_answer(project: Project) -> None:
    address = f"127.0.0.1:{free_port()}"
    project.environment["HEADRACE__POOL__FLEET__BACKEND"] = "ray"
    project.environment["HEADRACE__POOL__FLEET__ADDRESS"] = address
    project.environment["HEADRACE__POOL__FLEET__HEADLESS_S"] = "0.5"
    done = project.headrace("run", "flow")
    check_error(done, 2, "pool `fleet`", address, hint="head")


def reach(project: Project, endpoint: str, bucket: str, key: str = KEY, secret: str = SECRET) -> None:
    """Have a project's store be this one, with these credentials where Amazon's tools look for them."""
    project.environment |= {
        "HEADRACE__STORE__URL": f"s3://{bucket}/project",
        "HEADRACE__STORE__ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": os.environ.get("AWS_REGION", "us-east-1"),
    }
