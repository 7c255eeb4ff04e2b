"""Reads Amazon credentials from the shared files `~/.aws/credentials` and `~/.aws/config`.

Amazon's tools look for credentials in this order: the environment, a web identity, the shared files, the container, the
instance. Obstore itself looks in all of these places except the shared files. So this module reads the files, unless
the environment has credentials that come first.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from headrace.errors import StoreUnreachable

BEFORE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
AGAIN = timedelta(minutes=5)
"""How long credentials from the files are used before the files are read again. Another program may renew the
credentials."""

PROCESS_S = 60.0


class Credential(Struct, frozen=True):
    """An access key with its secret, both valid until `until`. The `repr` doesn't show the secret."""

    key: str
    secret: str
    token: str | None
    until: datetime

    def __repr__(self) -> str:
        return f"Credential({self.key[:4]}***)"


class Profile:
    """A profile in `~/.aws/credentials` and `~/.aws/config`, or in the files that the environment names instead."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
        self._asked = self.name != "default"

    @property
    def region(self) -> str | None:
        """The region that the profile names, or None."""
        return self._values().get("region")

    @property
    def endpoint(self) -> str | None:
        """The URL of the server that the profile names, or None."""
        return self._values().get("endpoint_url")

    def has_credentials(self) -> bool:
        """Return True if the profile has credentials, and the environment has none that take precedence over them.

        Raises:
            StoreUnreachable: the environment names a profile that doesn't exist, or the profile gets its credentials in
                a way that isn't supported, such as a role.
        """
        if any(self._environment.get(name) for name in BEFORE):
            return False
        values = self._values()
        if "aws_access_key_id" in values or "credential_process" in values:
            return True
        if not values and self._asked:
            raise StoreUnreachable(
                f"AWS_PROFILE names the profile `{self.name}`, which the shared files don't have",
                hint="add it to ~/.aws/credentials, or unset AWS_PROFILE",
            )
        if any(name in values for name in ("role_arn", "sso_session", "sso_start_url", "login_session")):
            raise StoreUnreachable(
                f"the profile `{self.name}` gets its credentials by a role or a sign-in, which only Amazon's tools "
                "can do",
                hint=f"run `eval $(aws configure export-credentials --profile {self.name} --format env)`, or set "
                "`credential_process` in the profile",
            )
        return False

    def credential(self) -> Credential:
        """Return the credential of the profile, read from the files now."""
        values = self._values()
        if "aws_access_key_id" not in values:
            return self._made(values["credential_process"])
        return Credential(
            values["aws_access_key_id"],
            values.get("aws_secret_access_key", ""),
            values.get("aws_session_token") or None,
            datetime.now(UTC) + AGAIN,
        )

    def _made(self, command: str) -> Credential:
        """Run `command`, the profile's `credential_process`, and return the credential that it prints in Amazon's JSON
        format."""
        try:
            done = subprocess.run(
                shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=PROCESS_S
            )
            answer = json.loads(done.stdout)
            until = answer.get("Expiration")
            return Credential(
                answer["AccessKeyId"],
                answer["SecretAccessKey"],
                answer.get("SessionToken"),
                datetime.fromisoformat(until) if until else datetime.now(UTC) + AGAIN,
            )
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            raise StoreUnreachable(
                f"the `credential_process` of profile `{self.name}` gave no credentials: {type(error).__name__}",
                hint="run that command by hand: it must print JSON with AccessKeyId and SecretAccessKey",
            ) from None  # the cause may contain the command's output, with the secret

    def _values(self) -> dict[str, str]:
        home = Path(self._environment.get("HOME") or os.path.expanduser("~")) / ".aws"
        config = self._environment.get("AWS_CONFIG_FILE") or home / "config"
        shared = self._environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"
        section = self.name if self.name == "default" else f"profile {self.name}"
        return {**_section(Path(config), section), **_section(Path(shared), self.name)}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(path.expanduser().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise StoreUnreachable(
            f"Amazon's shared file `{path}` can't be read: {type(error).__name__}",
            hint="correct it: sections in brackets, then `name = value`",
        ) from None  # the cause quotes the line, which may hold a secret
    return dict(parser[name]) if parser.has_section(name) else {}
