"""A machine apart: a namespace of network and files on this one, joined to us by one link that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.servers.missing import Missing

_COUNT = 8000  # pairs of addresses in 10.77.0.0/17


class Apart:
    """Commands with its `prefix` run there: on a network of their own, where folders of `hidden` are empty.

    `address` is where others reach it, `ours` where it reaches us.
    """

    def __init__(self, hidden: Sequence[Path] = ()) -> None:
        if why := lacking():
            raise Missing(why)
        number = os.getpid() % _COUNT
        while True:
            self.name = f"hr{number}"
            first = 4 * number
            self.ours, self.address = (f"10.77.{(first + each) >> 8}.{(first + each) & 255}" for each in (1, 2))
            if _ip("netns", "add", self.name, check=False):
                break
            number = (number + 1) % _COUNT
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "up0", "netns", self.name)
        _ip("addr", "add", f"{self.ours}/30", "dev", self.link)
        _ip("link", "set", self.link, "up")
        for words in (
            ["addr", "add", f"{self.address}/30", "dev", "up0"],
            ["link", "set", "up0", "up"],
            ["link", "set", "lo", "up"],
        ):
            _ip("-n", self.name, *words)
        veils = [word for folder in hidden for word in ("--tmpfs", str(folder))]
        self.prefix = ["ip", "netns", "exec", self.name, "bwrap", "--dev-bind", "/", "/", *veils, "--"]

    @property
    def link(self) -> str:
        """Our end of the link."""
        return f"v{self.name}"

    def cut(self) -> None:
        """Cut the link: nothing passes any more, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        """Mend the link."""
        _ip("link", "set", self.link, "up")

    def remove(self) -> None:
        """Remove it; what runs there goes on without a network."""
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self.link)
            _ip("netns", "del", self.name)


def lacking() -> str:
    """Return why there can be no machine apart, or nothing where there can."""
    for program, package in (("ip", "iproute2"), ("bwrap", "bubblewrap")):
        if shutil.which(program) is None:
            return f"`{program}` is not installed: apt-get install {package}"
    return "" if os.geteuid() == 0 else "namespaces of the network can be made by root only"


def _ip(*words: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *words], check=check, capture_output=True)
    return done.returncode == 0
