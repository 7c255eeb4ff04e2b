"""The read side: what a project's record says of its runs, as plain values. Begin with `views`. Nothing here changes
anything, and nothing of `operate` enters."""
