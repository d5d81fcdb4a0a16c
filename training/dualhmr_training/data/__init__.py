"""Training data: synthetic people, and the licensed data sets that users bring."""
