"""Compare the rows of a window with a reference; which tests are used is up to a ``Detector``."""
