"""How the asset `pose_prior.npz` is made; not installed."""
