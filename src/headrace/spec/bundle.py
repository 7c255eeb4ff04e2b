"""A bundle: the content-addressed code of a run."""

from __future__ import annotations

from headrace.spec.noun import Row

_CODE = (".py", ".pyi", ".ipynb", ".sql")
_SETTINGS = (".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".md")
_PAGES = (".jinja", ".j2", ".tmpl", ".template", ".html", ".css", ".js")
SUFFIXES = frozenset((*_CODE, *_SETTINGS, *_PAGES))
"""Files of other kinds are data, and in no bundle."""


class Bundle(Row, frozen=True):
    """`digest` and `nonce` name the archive in the store, `size` is its bytes.

    `roots` are its folders that go on the import path. `lock` is the digest of the environment's lock file, where
    there is one, and `platform` the tag that the lock declares.
    """

    digest: str
    size: int
    nonce: str
    roots: tuple[str, ...] = (".",)
    lock: str | None = None
    platform: str | None = None
