"""Cases through every rung of the ladder, into a run folder."""
