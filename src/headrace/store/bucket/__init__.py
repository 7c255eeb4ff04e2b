"""A store in a bucket on a server. Begin with `objects`, the store, then `bucket`, its requests. Refusals come out in
the user's words."""
