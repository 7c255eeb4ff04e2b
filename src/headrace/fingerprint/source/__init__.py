"""Reads source files as text. Each file is parsed once. Pieces of it are written in a normal form, without comments and
formatting, together with the names that they use. Begin with `files`. Nothing here imports the files that it reads."""
