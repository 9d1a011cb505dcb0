"""The project's feature repository, and the rows of its views, computed from a snapshot."""
