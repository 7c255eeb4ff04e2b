"""A project: its folder, its settings (`headrace.toml`, overlays, environment), and its state, opened. Begin with
`project`. Nothing here runs or shows anything."""
