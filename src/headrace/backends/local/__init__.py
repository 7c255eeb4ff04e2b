"""A pool that is this machine. Begin with `backend`. What other backends need of processes stands in `processes`."""
