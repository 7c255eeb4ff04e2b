"""Opens a database by its URL. Secrets are filled into the URL only here."""

from __future__ import annotations

import importlib
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.define.ports import tracing
from headrace.define.secret import Secret
from headrace.errors import DefinitionError, SourceError
from headrace.spec.redaction import masked
from headrace.stages.ingest._sql.session import FILES, Session, connected, dialect_of

_SECRET = re.compile(r"secret\('([A-Za-z_]\w*)'\)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def shown_of(url: str) -> str:
    """Return a URL that is safe to show: without passwords and secrets."""
    return masked(_SECRET.sub("***", url))


@contextmanager
def session(url: str, secrets: Mapping[str, str], driver: str | None, project: Path | None) -> Iterator[Session]:
    """Open a database, and begin a transaction. At the end of the `with` block, end the transaction and close the
    database.

    `url` may hold `secret('NAME')`; its value is taken from `secrets`. `driver` is the name of an ADBC driver, or None
    to take it from the URL. `project` is the folder where relative paths start.

    Raises:
        SourceError: the database doesn't exist, or refuses the connection.
    """
    opened = _opened(filled(url, secrets), driver, shown_of(url), project)
    try:
        opened.begin()
        yield opened
    finally:
        opened.end()


def filled(url: str, secrets: Mapping[str, str]) -> str:
    """Return a URL with the values of its secrets.

    Raises:
        SourceError: `url` isn't a URL.
    """
    if not _SCHEME.match(url):
        raise SourceError(
            f"`{shown_of(url)}` is not a URL of a database", hint="such as `sqlite:///file.db`, `postgresql://...`"
        )
    return _SECRET.sub(lambda found: urllib.parse.quote(secrets[found[1]], safe=""), url)


def _opened(url: str, driver: str | None, shown: str, project: Path | None) -> Session:
    dialect = dialect_of(url, driver)
    path = file_of(url, shown, project) if (driver or url.partition(":")[0]) in FILES else None
    if dialect == "other":
        return Session(connected(url, driver, shown, path), shown)
    module = module_of(dialect)
    made: Session = module.PostgresSession(url, shown) if path is None else module.SqliteSession(path, shown)
    return made


def module_of(dialect: str) -> Any:
    """Return the module for a database, which imports its driver.

    Raises:
        SourceError: the driver isn't installed.
    """
    try:
        return importlib.import_module(f"headrace.stages.ingest._sql.{dialect}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("adbc_driver"):
            raise
        raise SourceError(
            f"the ADBC driver for `{dialect}` isn't installed", hint=f"pip install adbc-driver-{dialect}"
        ) from error


def file_of(url: str, shown: str, project: Path | None) -> Path:
    """Return the path of the file that a URL names.

    Raises:
        SourceError: the URL names no file, or the file doesn't exist.
    """
    path = path_in(url, shown)
    if not path.is_absolute() and project is None:
        raise SourceError(
            f"`{path}` is relative to the project's folder, which isn't on this machine",
            hint="give a full path that the pool's machines have, or run the stage in a pool on the project's machine",
        )
    found = path if project is None else project / path
    if not found.is_file():
        raise SourceError(f"there is no database `{found}`", hint="a relative path starts at the folder of the project")
    return found


def path_in(url: str, shown: str) -> Path:
    """Return the path in a URL such as `sqlite:///relative.db` or `sqlite:////absolute.db`, unchanged.

    Raises:
        SourceError: the URL names no file.
    """
    _, slashes, rest = url.partition(":///")
    path = Path(urllib.parse.unquote(rest.partition("?")[0]))
    if not slashes or not path.name:
        raise SourceError(
            f"`{shown}` names no file",
            hint="write `sqlite:///file.db`, or `sqlite:////folder/file.db` with a full path",
        )
    return path


def secrets_of(url: Any) -> dict[str, Any]:
    """Return the secrets that a URL refers to, by name: as `Secret` objects in a pipeline, or as their values outside
    of a pipeline.

    Raises:
        DefinitionError: the URL has a password in it, or isn't text; or a secret isn't set.
    """
    if isinstance(url, Secret):
        return {}
    if not isinstance(url, str):
        raise DefinitionError(f"the URL of a database is text, not a `{type(url).__qualname__}`", hint="give text")
    bare = re.sub(f":?{_SECRET.pattern}", "", url)
    if masked(bare) != bare:
        raise DefinitionError(
            f"the URL `{masked(bare)}` has a password in it, which would be kept with the run",
            hint="write f\"postgresql://ann:{hr.secret('NAME')}@host/db\", and set NAME in the environment",
        )
    names = dict.fromkeys(_SECRET.findall(url))
    return {name: Secret(name) if tracing.get() is not None else revealed(Secret(name)) for name in names}


def revealed(value: Any) -> Any:
    """Return the value of a `Secret`, read from the environment; return any other value unchanged."""
    if not isinstance(value, Secret):
        return value
    try:
        return os.environ[value.name]
    except KeyError:
        raise DefinitionError(
            f"secret `{value.name}` is not set", hint=f"set the environment variable {value.name}"
        ) from None
