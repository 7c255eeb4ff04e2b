"""The Python environment that an attempt runs in, built from the project's lock. Begin with `choose`, then read
`build`. Backends know nothing of environments."""
