"""Engines, one module each behind one small protocol; nothing here knows what a line is."""
