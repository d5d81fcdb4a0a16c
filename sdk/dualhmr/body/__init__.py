"""Bodies in SMPL's formulation.

`arrays`, `files` and `smpl_pickle` need no PyTorch; `model` and `points` do.
"""
