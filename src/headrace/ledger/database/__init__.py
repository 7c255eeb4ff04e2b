"""The database in which a ledger is stored, an SQLite file or a PostgreSQL server: connections, tables, statements,
leases. Begin with `database`, the port. This package doesn't know what the rows mean."""
