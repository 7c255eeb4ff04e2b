"""Source files as text: each is parsed once, and written in a normal form without comments and formatting, with the
names that it uses. Begin with `files`. Nothing here imports the files that it reads."""
