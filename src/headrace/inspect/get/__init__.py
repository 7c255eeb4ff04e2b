"""Artifacts got out, as values or as files, by their addresses. Begin with `get`. Nothing is written over that wasn't
named."""
