"""A bundle: the content-addressed code of a run."""

from __future__ import annotations

from headrace.spec.noun import Row


class Bundle(Row, frozen=True):
    """`ref_digest` and `nonce` name the archive's blob; `roots` are the folders of it that go on the import path.

    `files` maps nothing: the archive lists its own. `lock` is the digest of the environment's lock file, if there is
    one, and `platform` the tag that the lock declares.
    """

    digest: str
    size: int
    nonce: str
    roots: tuple[str, ...] = (".",)
    lock: str | None = None
    platform: str | None = None
