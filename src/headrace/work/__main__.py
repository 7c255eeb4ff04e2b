"""The entry point of the zygote: `python -m headrace.work DESCRIPTOR`."""

from __future__ import annotations

import gc
import importlib


def main() -> None:
    """Import what workers need, then run the zygote, the parent of all workers."""
    gc.disable()  # imports make no garbage, and looking for it would take a tenth of the time
    zygote = importlib.import_module("headrace.work.zygote")
    gc.freeze()  # workers share its memory until they write to it, and collecting garbage writes to every object
    gc.enable()
    zygote.main()


if __name__ == "__main__":
    main()
