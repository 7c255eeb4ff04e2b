"""Measures what an attempt uses of its machine, and shows it to the parent process. Begin with `meter`. Nothing here
decides to end an attempt."""
