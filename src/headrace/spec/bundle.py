"""A bundle: the content-addressed code of a run."""

from __future__ import annotations

from headrace.spec.noun import Row

_CODE = (".py", ".pyi", ".ipynb", ".sql")
_SETTINGS = (".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".md")
_PAGES = (".jinja", ".j2", ".tmpl", ".template", ".html", ".css", ".js")
SUFFIXES = frozenset((*_CODE, *_SETTINGS, *_PAGES))
"""The suffixes of the files that a bundle holds. Files of other kinds are data, and are left out."""


class Bundle(Row, frozen=True):
    """The archive that holds a run's code, in the store.

    `digest` and `nonce` name the archive in the store, `size` is its number of bytes. `roots` are the folders of the
    archive that are put on the import path. `lock` is the digest of the environment's lock file, or None if there is
    none. `platform` is the platform tag that the lock declares, or None.
    """

    digest: str
    size: int
    nonce: str
    roots: tuple[str, ...] = (".",)
    lock: str | None = None
    platform: str | None = None
