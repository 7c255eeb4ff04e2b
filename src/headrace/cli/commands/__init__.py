"""The commands. Each has its own file, under the name that users type, and `cli.catalogue` imports the file only when
the command is called. Code that several commands need is in `cli`."""
