"""What a run holds, and how one asks it."""
