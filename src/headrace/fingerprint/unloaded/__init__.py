"""Code that an import inside a function reaches, found by reading its source. Begin with `code`. Nothing is imported
here, since finding code must not run it."""
