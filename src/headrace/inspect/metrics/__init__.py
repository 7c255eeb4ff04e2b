"""The numbers that tasks gave or logged: gathered, ranked, as curves. Begin with `metrics`. How a number is shown is
`report`'s."""
