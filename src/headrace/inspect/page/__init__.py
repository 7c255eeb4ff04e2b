"""The page about a run: facts gathered, then drawn as one HTML file without a script. Begin with `page`. Only `gather`
reads the record."""
