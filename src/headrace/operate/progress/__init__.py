"""How far a run is, while it goes: who looks on, what is counted, what is written to the log. Begin with `observer`.
Nothing here decides anything."""
