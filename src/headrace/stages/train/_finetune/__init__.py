"""`train.finetune`: a pretrained Hugging Face model, trained with an adapter. Begin with `finetune`, the stage, then
`training`. It shares the training loop of `train.torch`."""
