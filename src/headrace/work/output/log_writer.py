"""The process that writes the log of a worker that has been given secrets. It masks them before anything is written to
disk.

It outlives a worker that is killed, so the worker's last output is kept too, and masked. It is started as a script with
only the standard library, which takes 30 ms. A fork of the worker would keep the worker's connections open and its
memory in use.
"""

from __future__ import annotations

import os
import re
import select
import sys
from bisect import bisect
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby

STARS = b"*" * 8
"""The text that replaces a secret. It has a fixed length, so that it doesn't show the secret's length."""
SETTLED = b"."
"""The answer to an order (a line of secrets in hex, or an empty line): the order is done, and all that was in the pipe
before the order is in the log."""
_LINE, _LOG = 0, 1
_READ_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20
"""The size of a pipe in bytes: at most so much of what was written before an order is still in the pipe."""
_HEAD_BYTES = 4
"""How many bytes of each secret are searched for at the end of the data, where only a secret's beginning may have
arrived."""
_NESTED = 20
"""How deep a pattern may be nested; alternatives that would be deeper are listed side by side."""


def any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches any of these words; if one begins with another, the longer one.

    A beginning that several words share is in the pattern once. So at each place in a text only few alternatives are
    tried, however many words there are.

    >>> any_of(["abc", "abd", "x", "ab"])
    '(?:ab(?:c|d)?|x)'
    """
    return _any_of(sorted(set(words)), 0, 0) or "(?!)"


def any_bytes_of(words: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return a compiled pattern that matches any of these byte strings; if one begins with another, the longer one."""
    return re.compile(any_of(word.decode("latin-1") for word in words).encode("latin-1"))


def _any_of(words: Sequence[str], start: int, depth: int) -> str:
    """Return the pattern for these sorted words from index `start` on; before `start`, all of them are the same."""
    if not words:
        return ""
    end = len(os.path.commonprefix((words[0], words[-1])))  # noqa: RUF071  they aren't paths
    head = re.escape(words[0][start:end])
    longer = words[1:] if len(words[0]) == end else words
    if not longer:
        return head
    if depth == _NESTED:
        rests = [re.escape(word[end:]) for word in sorted(longer, key=len, reverse=True)]
    else:
        rests = [_any_of(list(alike), end, depth + 1) for _, alike in groupby(longer, lambda word: word[end])]
    return f"{head}(?:{'|'.join(rests)}){'' if longer is words else '?'}"


class Sieve:
    """Masks secrets in bytes that come in pieces: a secret may begin in one piece and end in a later one."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._held = b""
        self.learn(secrets)

    def learn(self, secrets: Sequence[bytes]) -> None:
        """Mask these secrets from now on; if one begins with another, the longer one first."""
        self._secrets = sorted(secrets)
        self._longest = max(map(len, secrets), default=0)
        heads = any_bytes_of(secret[:_HEAD_BYTES] for secret in secrets)
        self._heads = re.compile(b"(?=" + heads.pattern + b")")
        self._pattern = any_bytes_of(secrets)

    def sift(self, piece: bytes) -> bytes:
        """Return the bytes that came so far, masked, up to the first place where an unfinished secret may begin. The
        rest, shorter than the longest secret, is held back."""
        data = self._held + piece
        sifted, at, end = [], 0, self._doubt(data, 0)
        for match in self._pattern.finditer(data):
            if match.start() >= end:
                break
            sifted += [data[at : match.start()], STARS]
            at = match.end()
            if at > end:  # the possible beginning of another secret was inside this one
                end = self._doubt(data, at)
        self._held = data[end:]
        return b"".join((*sifted, data[at:end]))

    def rest(self) -> bytes:
        """Return the bytes that were held back, when no more will come; if they are the first half of a secret or more,
        they are masked."""
        held, self._held = self._held, b""
        is_cut = any(secret.startswith(held) and 2 * len(held) >= len(secret) for secret in self._secrets)
        return STARS if held and is_cut else self._pattern.sub(STARS, held)

    def _doubt(self, data: bytes, start: int) -> int:
        """Return the first index, from `start` on, at which the rest of the data may be the beginning of a secret."""
        first = max(start, len(data) - self._longest + 1)
        last = range(max(first, len(data) - _HEAD_BYTES + 1), len(data))
        places: set[int] = {*last, *(match.start() for match in self._heads.finditer(data, first))}
        for at in sorted(places):
            rest = data[at:]
            next_ = bisect(self._secrets, rest)  # the next secret of the sorted list
            if next_ < len(self._secrets) and self._secrets[next_].startswith(rest):
                return at
        return len(data)


class _Writer:
    """Reads the pipe, masks its bytes and writes them to the log."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._sieve = Sieve()
        self._orders = b""

    def serve(self) -> None:
        """Write until every process has closed the pipe: the worker, and all that it has started."""
        events = select.poll()
        events.register(self._pipe, select.POLLIN)
        events.register(_LINE, select.POLLIN)
        while True:
            ready = dict(events.poll())
            if _LINE in ready and not self._obey():
                events.unregister(_LINE)  # the worker has ended, but processes that it started may still write
            elif self._pipe in ready and not self._pass(_READ_BYTES):
                break
        _write(self._sieve.rest())

    def _obey(self) -> bool:
        """Read and carry out orders; return whether there may be more."""
        try:
            data = os.read(_LINE, _READ_BYTES)
        except OSError:
            return False
        self._orders += data
        while b"\n" in self._orders:
            order, _, self._orders = self._orders.partition(b"\n")
            self._pass(_PIPE_BYTES)
            _write(self._sieve.rest())
            if order:
                self._sieve.learn([bytes.fromhex(secret.decode()) for secret in order.split()])
            with suppress(OSError):
                os.write(_LINE, SETTLED)
        return bool(data)

    def _pass(self, most: int) -> bool:
        """Write what is in the pipe to the log, at most this many bytes; return whether there may be more."""
        while most > 0:
            try:
                piece = os.read(self._pipe, min(most, _READ_BYTES))
            except BlockingIOError:
                return True
            if not piece:
                return False
            most -= len(piece)
            _write(self._sieve.sift(piece))
        return True


def _write(data: bytes) -> None:
    with suppress(OSError):  # the disk is full: the stage goes on without its log
        while data:
            data = data[os.write(_LOG, data) :]


if __name__ == "__main__":
    _Writer(int(sys.argv[1])).serve()
