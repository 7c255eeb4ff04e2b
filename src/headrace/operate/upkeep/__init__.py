"""Upkeep of a project's state: garbage collection, checks, backups, export and import. Begin with `upkeep`. The package
`ledger` does the actual work."""
