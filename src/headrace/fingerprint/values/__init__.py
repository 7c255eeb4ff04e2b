"""Digests of constants by value: equal values have the same digest in every process. Begin with `value`. No library is
imported to read its values (such as NumPy arrays): a library that made a value is loaded already."""
