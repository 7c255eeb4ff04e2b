"""Saving values as bytes, and loading them again. Begin with `codecs`, then read `registry`, which chooses the codec of
a value. Nothing here knows runs or stores, except for what `ports` requires of a store."""
