"""`train.torch`: trains a user's own network with PyTorch. Begin with `torch`, the stage, then `training` and `loop`.
Only `rank` runs in separate processes."""
