"""`dualhmr serve`: photographs in, bodies out, over HTTP."""
