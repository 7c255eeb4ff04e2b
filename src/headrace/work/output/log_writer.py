"""The process that writes a worker's log once the worker has been given a secret. It masks secrets before anything is
written to disk.

If the worker is killed, this process lives on, so the worker's last output is written and masked too. The process is
started as a script that imports only the standard library, which takes 30 ms. It isn't a fork of the worker, since a
fork would keep the worker's connections open and its memory in use.
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
"""The answer to an order. An order is a line of secrets in hex, or an empty line. The answer means that the order is
done, and that all bytes that were in the pipe before the order are in the log."""
_LINE, _LOG = 0, 1
_READ_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20
"""The size of a pipe in bytes. When an order comes, the pipe holds at most this many bytes that were written before the
order."""
_HEAD_BYTES = 4
"""At the end of the data, where perhaps only a part of a secret has arrived, this many bytes of each secret are
searched for."""
_NESTED = 20
"""How deep groups in a pattern may be nested. Below this depth, alternatives are listed side by side, without
groups."""


def any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches any of these words. If one word begins with another, the pattern matches the longer
    one.

    If several words begin with the same letters, the pattern contains these letters only once. So at each place in a
    text, only few alternatives are tried, however many words there are.

    >>> any_of(["abc", "abd", "x", "ab"])
    '(?:ab(?:c|d)?|x)'
    """
    return _any_of(sorted(set(words)), 0, 0) or "(?!)"


def any_bytes_of(words: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return a compiled pattern that matches any of these byte strings. If one byte string begins with another, the
    pattern matches the longer one."""
    return re.compile(any_of(word.decode("latin-1") for word in words).encode("latin-1"))


def _any_of(words: Sequence[str], start: int, depth: int) -> str:
    """Return the pattern for the letters of these sorted words from index `start` on. The letters before `start` are
    the same in all of them."""
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
    """Masks secrets in bytes that come in pieces. A secret may begin in one piece and end in a later piece."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._held = b""
        self.learn(secrets)

    def learn(self, secrets: Sequence[bytes]) -> None:
        """Mask only these secrets from now on. If one secret begins with another, the longer one is masked first."""
        self._secrets = sorted(secrets)
        self._longest = max(map(len, secrets), default=0)
        heads = any_bytes_of(secret[:_HEAD_BYTES] for secret in secrets)
        self._heads = re.compile(b"(?=" + heads.pattern + b")")
        self._pattern = any_bytes_of(secrets)

    def sift(self, piece: bytes) -> bytes:
        """Take a piece, and return the bytes that have come so far and were not returned yet, masked. If the last bytes
        may be the beginning of a secret, hold them back. These are always fewer bytes than the longest secret has."""
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
        """Return the bytes that were held back. This is called when no more bytes will complete a secret. If the bytes
        are at least the first half of a secret, they are masked."""
        held, self._held = self._held, b""
        is_cut = any(secret.startswith(held) and 2 * len(held) >= len(secret) for secret in self._secrets)
        return STARS if held and is_cut else self._pattern.sub(STARS, held)

    def _doubt(self, data: bytes, start: int) -> int:
        """Return the first index, from `start` on, such that all bytes from this index to the end may be the beginning
        of a secret. If there is no such index, return the length of the data."""
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
        """Write to the log until the worker and all processes that it has started have closed the pipe."""
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
        """Read the worker's orders (see `SETTLED`), and carry them out. Return whether more orders may come."""
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
        """Write the bytes that are in the pipe to the log, but at most `most` bytes. Return whether more bytes may
        come."""
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
