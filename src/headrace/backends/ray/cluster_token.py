"""The token of a Ray cluster that Headrace starts. The token is in a temporary file for as long as the cluster exists.

Without this file, Ray would make a token in the user's home and leave the token there. A cluster that the user starts
later would then require that token.
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
    """Return whether we make the token of a new cluster. We do so only if the user has set no environment variable
    about tokens."""
    return not any(name in os.environ for name in (MODE, TOKEN, PATH))


def home_token() -> Path | None:
    """Return the file in the user's home in which Ray keeps a token, or None if there is no such file."""
    path = Path.home() / ".ray" / "auth_token"
    return path if path.is_file() else None


class OwnToken:
    """A token that Ray uses, in this process and its child processes, until `give_up` is called."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-ray-"))
        path = self._folder / "token"
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        os.environ |= {MODE: "token", PATH: str(path)}
        _look_again()

    def give_up(self) -> None:
        """Stop using the token and delete its file. Call this after the cluster has ended."""
        for name in (MODE, PATH):
            os.environ.pop(name, None)
        _look_again()
        shutil.rmtree(self._folder, ignore_errors=True)


def _look_again() -> None:
    """Make Ray read the environment variables again: first the authentication mode, then the token.

    In the other order, the old mode might still require a token when there is none, and a thread of Ray would then end
    this process.
    """
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
