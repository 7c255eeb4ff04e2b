"""What an attempt uses of its machine: this is measured and shown to the parent process (begin with `meter`), and
`devices` gives accelerators to workers. Nothing here decides to end an attempt."""
