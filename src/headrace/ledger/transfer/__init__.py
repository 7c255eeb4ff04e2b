"""Moves a ledger elsewhere: archives, imports, backups, another database. Begin with `transfer`. All data from outside
is checked before the first row is written."""
