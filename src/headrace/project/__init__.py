"""A project: its folder, its settings (from `headrace.toml`, `--config` files and the environment), and functions that
open its ledger and stores. Begin with `project`. Nothing here runs or shows anything."""
