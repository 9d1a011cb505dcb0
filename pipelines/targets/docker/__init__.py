"""Containers: the images of the steps and of the server, and the Docker engine that runs them."""
