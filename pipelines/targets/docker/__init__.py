"""Containers: the images of the steps and of the server, and the Docker engine as a place to run."""
