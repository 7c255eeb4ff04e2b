"""Erases a person from an endpoint's log, and from the tables that hold the person. Begin with `erase`. Which rows are
about somebody is told by `inspect.endpoints.person`; what is recorded and rewritten, by `ledger.erasures`."""
