"""Synthetic people: endless training data from the free body."""
