"""Things that are loaded (functions, classes, what they hold), followed by name to all that they reach. Begin with
`walk`. What isn't loaded yet is read by `unloaded`."""
