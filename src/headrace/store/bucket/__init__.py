"""A store in a bucket on a server. Begin with `object_store`, then `bucket`, which makes the requests. Errors of the
server are turned into messages that a user understands."""
