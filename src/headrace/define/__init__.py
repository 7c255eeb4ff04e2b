"""The API for user code: `@stage`, `@pipeline`, handles, and the questions that a pipeline's body may ask. Begin with
`stage` and `trace`. Nothing here runs a task."""
