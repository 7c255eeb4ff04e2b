"""`ingest.logs`: the lines of logs as a table, each line once. Begin with `logs`, the stage, then `rotation`. Nothing
here parses a line but `patterns`."""
