"""Endpoints as commands show them. Begin with `predictions`, which reads what endpoints answered."""
