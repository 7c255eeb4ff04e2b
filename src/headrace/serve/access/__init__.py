"""Who may send requests to the server, and how often. Begin with `access`."""
