"""`dualhmr bench` and `dualhmr reproduce`."""
