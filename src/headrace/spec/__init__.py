"""The data types that all layers share: frozen values, checked when they are created. Begin with `graph` and `stage`.
No code here uses a clock, a file, a socket or environment variables."""
