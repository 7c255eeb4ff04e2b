"""Verified copies of a bucket's blobs on this machine, on disk and in memory, as many as fit. Begin with `cache`.
Nothing here is the only copy of anything."""
