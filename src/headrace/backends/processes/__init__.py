"""Code shared by the backends that start workers as processes: the zygote, its channel, its namespace, and the cleanup
of processes that zygotes left. Begin with `spawn`. Backends share code only through this package."""
