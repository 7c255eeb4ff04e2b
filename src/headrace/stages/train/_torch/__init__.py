"""`train.torch`: a network of the user's own, trained by PyTorch. Begin with `torch`, the stage, then `training` and
`loop`. Only `rank` runs in processes of its own."""
