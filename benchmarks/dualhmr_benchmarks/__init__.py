"""Benchmarks: how long a test-time step takes."""
