"""Recording -> tensor: a model's inputs, made frame by frame."""
