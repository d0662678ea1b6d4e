"""What exactly differs between two input tensors, named (docs/diagnosis.md)."""
