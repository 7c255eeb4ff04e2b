"""What Python programs and notebooks call and see. Begin with `launcher`. The command line's words are used, its
terminal isn't."""
