"""The command line: it parses arguments, calls `operate` and `inspect`, and prints the results. Begin with `main`, then
`catalogue`, which lists the commands. Errors become text and exit codes here."""
