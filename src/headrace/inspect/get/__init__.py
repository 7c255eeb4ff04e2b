"""Artifacts copied out of the store by their addresses, as values or as files. Begin with `get`. A file is overwritten
only if the user named it."""
