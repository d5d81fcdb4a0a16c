"""Videos: frames, tracks, and bodies that are adapted from frame to frame."""
