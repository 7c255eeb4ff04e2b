"""Saving values as bytes, and loading them again. Begin with `codecs`, then read `registry`, which chooses the codec of
a value. This package knows nothing of runs. Of stores it knows only the interface in `ports`."""
