"""The databases below the ledger, SQLite's file and PostgreSQL's server: connections, tables, statements, leases.
Begin with `database`, the port. What rows mean stands above."""
