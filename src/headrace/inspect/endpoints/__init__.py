"""Endpoints as commands show them. Begin with `predictions`: what was answered."""
