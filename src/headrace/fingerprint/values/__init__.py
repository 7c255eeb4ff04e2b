"""Digests of constants by value: equal values have the same digest in every process. Begin with `value`. A library's
types are handled only if the library is already loaded."""
