"""The read side: what a project's record says about its runs, as plain values. Begin with `views`. Nothing here changes
the record, and nothing from `operate` is imported."""
