"""Computes what a run will do, and why: keys, reuse, and the planner. Begin with `planner`, then `keys`. All functions
are pure: facts about earlier runs are passed in as values."""
