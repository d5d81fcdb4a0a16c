"""Training: synthetic people, objectives, loops."""
