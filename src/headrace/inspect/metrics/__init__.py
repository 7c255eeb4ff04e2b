"""The numbers that tasks returned or logged: gathered, ranked, and as curves. Begin with `metrics`. The package
`report` decides how a number is shown."""
