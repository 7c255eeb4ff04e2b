"""A store in a folder, of one machine or on a file system that many share. Begin with `folder`. How files become
durable stands in `fsync`."""
