"""A store in a folder, on one machine or on a shared file system. Begin with `folder`. The module `fsync` makes files
durable."""
