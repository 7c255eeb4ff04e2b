"""The codecs that come with Headrace, one file for each kind of value. Begin with `raw`, the smallest. A codec's
library is imported only when a value or artifact of that library is saved or loaded."""
