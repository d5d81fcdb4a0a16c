"""Benchmarks: the latency of a test-time step, and the claims of the paper in miniature."""
