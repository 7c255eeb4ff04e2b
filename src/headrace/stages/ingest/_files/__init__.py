"""`ingest.files`: files of one kind, as one table. Begin with `files`, the stage, then `formats`. Other stages read
files of the usual formats by the same code."""
