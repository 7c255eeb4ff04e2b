"""Where work goes: how runs share a pool. Begin with `share`. All of it is pure."""
