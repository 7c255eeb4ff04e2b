"""Captures what an attempt prints and logs, masks the secrets in it, and writes it. Begin with `capture`. Values that a
stage returns are saved by `codec`."""
