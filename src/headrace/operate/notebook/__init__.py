"""The API for Python programs and notebooks: run and plan pipelines, and show the results. Begin with `launcher`. Texts
are the same as on the command line."""
