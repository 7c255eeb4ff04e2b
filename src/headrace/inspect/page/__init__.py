"""The page about a run: its facts are gathered, then drawn as one HTML file. Begin with `page`.
Only `gather` reads the record."""
