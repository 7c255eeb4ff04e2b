"""`ingest.sql`: reads rows of a database, either all rows or only new rows. Start reading at `sql`, then `stages`. The
code for each database is in a file of its own. `session` has the code that all databases share."""
