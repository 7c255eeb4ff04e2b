"""A store in a bucket on a server. Begin with `object_store`, then `bucket`, its requests. Refusals come out in the
user's words."""
