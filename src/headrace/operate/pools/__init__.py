"""Pools as a run sees them: opened by their settings, in their regions. Begin with `pools`. What a backend does is
`backends`' own."""
