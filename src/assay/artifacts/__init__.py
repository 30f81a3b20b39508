"""What a model is: its files, their digests, its tensors, and sealed copies of them."""
