"""The Python that an attempt runs in, built from the project's lock. Begin with `choose`, then `build`. Backends know
nothing of it."""
