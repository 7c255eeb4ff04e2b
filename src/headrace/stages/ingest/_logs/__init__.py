"""`ingest.logs`: reads the lines of logs as a table, each line once. Start reading at `logs`, the stage, then
`rotation`. Only `patterns` parses lines."""
