"""Body models in SMPL's formulation.

`model` and `points` need PyTorch; the others work without it.
"""
