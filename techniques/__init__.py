"""Robustness techniques, one module each; nothing here knows what an engine is."""
