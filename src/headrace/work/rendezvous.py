"""Exchanges texts between the nodes of one attempt, through files next to the logs in the store of the nodes'
region."""

from __future__ import annotations

import os
import time
from pathlib import Path

from blake3 import blake3

from headrace.run.wire import Do
from headrace.store.store import Logs

LOOK_S = 0.05
_END = b"\n"
_LONGEST = 1 << 16


class Meeting:
    """Exchanges texts between the workers of a run on different nodes. The texts go through the store, since it may be
    the only thing that every node can reach."""

    def __init__(self, run: str, logs: Logs, folder: Path) -> None:
        self._run = run
        self._logs = logs
        self._folder = folder

    def meet(self, order: Do, said: str) -> tuple[str, ...]:
        """Send a text, wait until every node has sent a text, and return the texts of all nodes in order of rank.

        If a node never sends a text, the attempt is ended, so that no other node waits forever.
        """
        if order.meeting is None:
            return (said,)
        place = f"meeting-{blake3(order.meeting.encode()).hexdigest(length=8)}"
        self._leave(f"{place}-{order.rank}", said.encode() + _END)
        return tuple(self._await(f"{place}-{rank}") for rank in range(order.nodes))

    def _leave(self, name: str, data: bytes) -> None:
        """Write `data`, the encoded text, to this machine's logs. If the store's logs are elsewhere, also copy the text
        there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f"{name}.new"
        aside.write_bytes(data)
        os.replace(aside, self._folder / name)
        self._logs.keep(self._run, name, 0, [data])

    def _await(self, name: str) -> str:
        while not (data := b"".join(self._logs.read(self._run, name, 0, _LONGEST))).endswith(_END):
            time.sleep(LOOK_S)
        return data.removesuffix(_END).decode()
