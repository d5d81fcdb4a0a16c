"""`dualhmr export` and `dualhmr verify`."""
