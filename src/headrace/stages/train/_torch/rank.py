"""One of the processes that train together, as `torchrun` starts it."""

from __future__ import annotations

import os
import pickle
import queue
import re
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from headrace.stages.train._torch.gang import ADDRESS, CHECKPOINT, FITTED, KEY
from headrace.stages.train._torch.host import Word
from headrace.stages.train._torch.training import Training


class RankHost:
    """The host of a rank. It talks to the attempt over a socket. Checkpoints are files in the attempt's folder."""

    def __init__(self, line: Connection, folder: Path, rank: int) -> None:
        self._line = line
        self._path = folder / CHECKPOINT
        self._rank = rank
        self._words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        threading.Thread(target=self._hear, daemon=True).start()

    def log(self, name: str, value: float, step: int) -> None:
        self._line.send(("log", name, value, step))

    def say(self, text: str) -> None:
        self._line.send(("say", text))

    def told(self) -> Word | None:
        return None if self._words.empty() else self._words.get()

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint. All ranks return the same one: rank 0 reads the file, and sends the checkpoint to
        the others."""
        found: list[Any] = [None]
        if self._rank == 0 and self._path.exists():
            found = [torch.load(self._path, weights_only=False)]
        torch.distributed.broadcast_object_list(found, 0)
        return found[0]  # type: ignore[no-any-return]

    def save(self, checkpoint: dict[str, Any]) -> Any:
        """Write a checkpoint to a new file, and return its path.

        If a rank dies, this file is enough to start again. If the node is lost, the copy in the store is needed.
        """
        aside = self._path.with_suffix(".new")
        torch.save(checkpoint, aside)
        return aside

    def keep(self, saved: Any) -> None:
        os.replace(saved, self._path)
        self._line.send(("checkpoint", str(self._path)))

    def _hear(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._words.put(self._line.recv())
        os._exit(1)  # the attempt is over, so this process ends at once


def main() -> None:
    """Train as the rank that torchrun's environment variables name."""
    folder = Path(sys.argv[1])
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    line = Client(os.environ[ADDRESS], authkey=bytes.fromhex(os.environ[KEY]))
    host = RankHost(line, folder, rank)
    try:
        training = Training.unpacked(folder)
        on_gpu = torch.cuda.is_available() and training.options.device != "cpu"
        if on_gpu:
            torch.cuda.set_device(local)
            training.options = replace(training.options, device=f"cuda:{local}")
        torch.distributed.init_process_group(
            "nccl" if on_gpu else "gloo", store=_store(rank, world), rank=rank, world_size=world
        )
        fitted = training.fit(host, rank=rank, world=world)
        if rank == 0:
            torch.save(fitted, folder / FITTED)
        torch.distributed.barrier()
    except Exception as error:  # noqa: BLE001  the model is the user's code
        traceback.print_exc()
        is_anothers = _is_anothers(error)
        line.send(("cut off", f"rank {rank}: {error}") if is_anothers else ("failed", rank, _sendable(error)))
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the process group sometimes abort the process during a normal exit


def _store(rank: int, world: int) -> Any:
    """Return the store in which the ranks find each other. Its keys have a different prefix for each start of the
    ranks.

    torchrun uses the same store for all starts. Without the prefix, restarted ranks would look for the ranks of the
    first start.
    """
    is_mine = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = torch.distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world, is_mine)
    return torch.distributed.PrefixStore(f"begun-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _is_anothers(error: BaseException | None) -> bool:
    """Return whether an error was caused by the end of another rank. After such an error, torchrun starts all ranks
    again."""
    while error is not None:
        if isinstance(error, torch.distributed.DistError) or _CUT_OFF.search(str(error)):
            return True
        error = error.__cause__
    return False


_CUT_OFF = re.compile(r"gloo|nccl|TCPStore|Connection (closed|reset) by peer|Broken pipe", re.IGNORECASE)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  the user's exceptions may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
