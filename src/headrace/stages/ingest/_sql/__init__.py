"""`ingest.sql`: rows of a database, whole or what is new. Begin with `sql`, then `stages`. Each database has a file;
what they share is `session`."""
