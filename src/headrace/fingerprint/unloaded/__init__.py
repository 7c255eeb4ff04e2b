"""Finds the code that an import inside a function reaches, by reading its source. Begin with `code`. Nothing is
imported here, since code must not run only because it is searched for."""
