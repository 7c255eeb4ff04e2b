"""What a run will do, and why: keys, reuse, the planner. Begin with `planner`, then `keys`. All of it is pure: history
comes in as values."""
