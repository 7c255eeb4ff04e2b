"""Verified copies of a bucket's blobs on this machine, on disk and in memory, up to a size limit. Begin with `cache`.
The bucket has all of these blobs too, so a copy can be deleted at any time."""
