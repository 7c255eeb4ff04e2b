"""A pool made of virtual time, for tests and benchmarks. Begin with `backend`, then `play`. Nothing here waits for a
real clock."""
