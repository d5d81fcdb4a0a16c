"""How long a test-time step takes."""
