"""A pool that is this machine. Begin with `backend`. Code about processes that other backends need too is in
`processes`."""
