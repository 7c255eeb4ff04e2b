"""Functions that open pools and regions by their settings, for a run. Begin with `pools`. The backends themselves are
in `backends`."""
