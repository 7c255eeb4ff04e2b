"""Blobs by digest and generation, in a folder or a bucket. Begin with `store`, the port, then `folder.folder`. Bytes
are kept here, not values."""
