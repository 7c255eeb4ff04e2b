"""The commands, a file each, under the name that users type. `cli.catalogue` imports one only when it is called. What
several need stands in `cli`."""
