"""Output tensors -> lines."""
