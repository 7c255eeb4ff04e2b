"""Stores: they keep blobs by digest and generation, in a folder or in a bucket. Begin with `store`, the interface, then
`folder.folder`. A store keeps bytes; it knows nothing of the values that they encode."""
