"""What can be known of a model before it is replayed: `trueline model check` (docs/model-check.md)."""
