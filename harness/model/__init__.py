"""What a model is: its card, and the stations and bands that its lines are measured at."""
