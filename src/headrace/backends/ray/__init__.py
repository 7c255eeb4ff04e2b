"""A pool on a Ray cluster: an actor for each worker. Begin with `backend`, then `actor`, which runs on the cluster.
Values never pass through Ray."""
