"""A pool made of virtual time, for tests and benchmarks. Begin with `backend`, then `behaviour`. Nothing here waits for
a real clock."""
