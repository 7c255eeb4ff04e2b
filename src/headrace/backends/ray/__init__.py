"""A pool on a Ray cluster, with one actor for each worker. Begin with `backend`, then `actor`, which runs on the
cluster. The values that stages pass to each other never go through Ray."""
