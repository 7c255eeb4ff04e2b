"""People who share a ledger on a server, each with a role of their own."""

from __future__ import annotations

import uuid
from contextlib import closing

import psycopg

from tests.projects import Project
from tests.servers.postgres import Postgres


def team(postgres: Postgres, project: Project) -> str:
    """Make a ledger of a team, in which each person logs in with a role of their own and acts as the team's role. The
    settings of `ada` and `bob` are in files of their names. Return the end of the roles' names: `ada_MARK`."""
    address = postgres.database()
    name, mark = address.rpartition("/")[2], uuid.uuid4().hex[:6]
    with closing(psycopg.connect(address, autocommit=True)) as db:
        db.execute(f"create role team_{mark}; alter database {name} owner to team_{mark}".encode())
        for person in ("ada", "bob"):
            role = f"{person}_{mark}"
            db.execute(f"create role {role} login password 'secret' in role team_{mark}".encode())
            db.execute(f"alter role {role} set role = 'team_{mark}'".encode())
            url = postgres.url(name, user=role, password="secret")
            project.write(f"{person}.toml", f'[ledger]\nurl = "{url}"\n')
        db.execute(f"grant all on schema public to team_{mark}".encode())
    return mark
