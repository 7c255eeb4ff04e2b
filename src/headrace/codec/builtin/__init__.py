"""The codecs that Headrace brings along, a file for each kind of value. Begin with `raw`, the smallest. A library is
imported only with values of its own."""
