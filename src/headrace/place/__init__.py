"""How runs share a pool. Begin with `share`. All functions are pure: they do no I/O and read no clock."""
