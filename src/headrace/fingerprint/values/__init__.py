"""Digests of constants by value: equal values have the same digest in every process. Begin with `value`. The types of a
library are read only if the library is already loaded."""
