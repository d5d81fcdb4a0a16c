"""Networks that are trained and adapted in the ways that claims compare; results are kept."""
