"""The progress of a run: observers, counts, displays and the log. Begin with `observer`. Nothing here makes
decisions."""
