"""`train.finetune`: a pretrained model of Hugging Face's, taught by an adapter. Begin with `finetune`, the stage, then
`training`. The loop is that of `train.torch`."""
