"""Erases a person from an endpoint's log, and from the tables that hold the person. Begin with `erase`.
`inspect.endpoints.person` finds the rows that are about a person. `ledger.erasures` records erasures and rewrites the
log."""
