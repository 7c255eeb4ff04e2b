"""The entry point of the zygote: `python -m headrace.work DESCRIPTOR`."""

from __future__ import annotations

import gc
import importlib


def main() -> None:
    """Import the modules that workers need, then run the zygote, which is the parent of all workers."""
    gc.disable()  # imports make no garbage, and a search for garbage would take a tenth of their time
    zygote = importlib.import_module("headrace.work.zygote")
    gc.freeze()  # workers share this memory until they write to it, and a garbage collection writes to every object
    gc.enable()
    zygote.main()


if __name__ == "__main__":
    main()
