"""Constants by their value: the same digest for equal values in every process. Begin with `value`. Libraries' types
are looked at only where the library is loaded already."""
