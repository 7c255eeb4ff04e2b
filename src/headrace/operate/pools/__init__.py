"""Functions that open pools and regions for a run, as the settings describe them. Begin with `pools`. The backends
themselves are in `backends`."""
