"""A ledger carried elsewhere: archives, imports, backups, another database. Begin with `transfer`. What comes from
outside is looked at in full before the first row is written."""
