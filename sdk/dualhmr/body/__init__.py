"""Body models in SMPL's formulation.

`arrays`, `files` and `smpl_pickle` work without PyTorch; `model` and `points` need it.
"""
