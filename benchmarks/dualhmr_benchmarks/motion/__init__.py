"""What smoothing and locking feet do, on made motions whose truth is known."""
