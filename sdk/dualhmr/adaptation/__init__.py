"""Test-time adaptation: the step, the schedules, and running them.

`schedule` and `optimisers` need no PyTorch.
"""
