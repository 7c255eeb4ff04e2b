"""`ingest.sql`: reads rows of a database, all rows or only new ones. Start reading at `sql`, then `stages`. Each
database has its own file. `session` has what all databases have in common."""
