"""`train.finetune`: a pretrained Hugging Face model, trained with an adapter. Begin with `finetune`, the stage, then
`training`. The training loop is that of `train.torch`."""
