"""The API for user code: `@stage`, `@pipeline`, handles, and the functions by which a pipeline's body asks for the
time, for cursors, and for versions of models and datasets. Begin with `stage` and `trace`. Nothing here runs a task."""
