"""`ingest.sql`: reads rows of a database, either all rows or only new rows. Start reading at `sql`, then `stages`.
`session` has the code that all databases share. `sqlite` and `postgresql` have the code for one database each."""
