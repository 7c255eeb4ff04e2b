"""`ingest.http`: reads a web service as a table. Start reading at `http`, the stage, then `pagination`. Only `caller`
sends requests. Each address is checked before a connection is made."""
