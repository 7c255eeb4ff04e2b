"""Follows loaded objects (functions, classes, and the values they hold) by name to all code that they reach. Begin with
`walk`. Code that isn't loaded yet is read by `unloaded`."""
