"""Score the rows of a user's table with a released model, on this machine and without a server."""
