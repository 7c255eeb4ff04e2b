"""The command line: it parses, calls `operate` and `inspect`, and shows. Begin with `main`, then `catalogue`, which
lists the commands. Errors become text and exit codes here."""
