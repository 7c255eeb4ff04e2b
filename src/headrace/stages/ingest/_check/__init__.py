"""`ingest.check`: checks a table against its contract. Start reading at `check`, the stage, then `contract`. A contract
is data, never code."""
