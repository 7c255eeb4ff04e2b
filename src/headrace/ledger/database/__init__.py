"""The databases below the ledger, an SQLite file or a PostgreSQL server: connections, tables, statements, leases. Begin
with `database`, the port. The modules above this package give the rows their meaning."""
