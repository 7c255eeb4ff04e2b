"""The token of a cluster of our own, in a file of its own for as long as that is there.

Ray would make one in the user's home and leave it there, and a cluster that the user starts later would want it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # there is no public way

MODE, TOKEN, PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def is_wanted() -> bool:
    """Return whether a new cluster is to have a token of ours: the user has said nothing of tokens."""
    return not any(name in os.environ for name in (MODE, TOKEN, PATH))


def home_token() -> Path | None:
    """Return the file where Ray itself keeps a user's token, where there is one."""
    path = Path.home() / ".ray" / "auth_token"
    return path if path.is_file() else None


class OwnToken:
    """A token that Ray, in this process and those that it begins, uses until it is given up."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-ray-"))
        path = self._folder / "token"
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        os.environ |= {MODE: "token", PATH: str(path)}
        _look_again()

    def give_up(self) -> None:
        """Stop using it, and remove it; to be called once the cluster has ended."""
        for name in (MODE, PATH):
            os.environ.pop(name, None)
        _look_again()
        shutil.rmtree(self._folder, ignore_errors=True)


def _look_again() -> None:
    """Make Ray read the environment again: the mode first, since a thread that wants a token ends us without."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
