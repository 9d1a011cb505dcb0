"""A released model as a folder that scores without this project, for a device or a script."""
