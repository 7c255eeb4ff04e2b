"""`ingest.files`: reads files of one format as one table. Start reading at `files`, the stage, then `formats`. Other
stages use this code too, to read files of the usual formats."""
