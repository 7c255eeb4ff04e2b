"""Code that an import inside of a function reaches, found by reading its source. Begin with `code`. Nothing is
imported here: looking must not run what is looked at."""
