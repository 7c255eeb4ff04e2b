"""The codecs that come with Headrace, one file for each kind of value. Begin with `raw`, the smallest. The library that
a codec is for is imported only when a value of this library is saved or loaded."""
