"""`ingest.http`: reads a web service as a table. Start reading at `http`, the stage, then `pagination`. Only `caller`
sends requests, and it checks each address."""
