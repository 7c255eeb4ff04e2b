"""Upkeep of a project's state: collecting, checking, backups, export and import. Begin with `upkeep`. The work itself
is the ledger's."""
