"""`ingest.check`: a table held against its contract. Begin with `check`, the stage, then `contract`. A contract is
data, never code."""
