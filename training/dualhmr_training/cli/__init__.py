"""`dualhmr train` and `dualhmr evaluate`."""
