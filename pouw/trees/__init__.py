"""Hash trees over the rows of tensors."""
