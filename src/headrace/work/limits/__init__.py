"""Measures what an attempt uses of its machine, and shows it to the parent process (begin with `meter`). `devices`
gives accelerators to workers. Nothing here decides to end an attempt."""
