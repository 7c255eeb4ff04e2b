"""A simulated pool with virtual time, for tests and benchmarks. Begin with `backend`, then `behaviour`. No code here
waits for a real clock."""
