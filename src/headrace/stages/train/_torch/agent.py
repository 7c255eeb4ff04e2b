"""`torchrun`, which ends when whoever began it is gone: that holds the other end of its standard input."""

from __future__ import annotations

import os
import signal
import sys
import threading

from torch.distributed.run import main


def _watch() -> None:
    while os.read(0, 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # on which it ends its ranks


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    main(sys.argv[1:])
