"""How a version comes to answer requests, on a laptop and on a cluster."""
