"""What user code writes with: `@stage`, `@pipeline`, handles, and what a pipeline's body may ask. Begin with `stage`
and `trace`. Nothing here runs a task."""
