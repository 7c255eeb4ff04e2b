"""Copies a ledger to another place: archives, imports, backups, moves to another database. Begin with `transfer`. All
data from outside is checked before the first row is written."""
