"""What an attempt takes of its machine, and what its parent sees of it. Begin with `meter`. Who ends an attempt for it
is decided elsewhere."""
