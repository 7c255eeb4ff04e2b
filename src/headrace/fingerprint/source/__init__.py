"""Source files as text: parsed once, in a form without comments and formatting, with the names that they use. Begin
with `files`. Nothing here is imported to be looked at."""
