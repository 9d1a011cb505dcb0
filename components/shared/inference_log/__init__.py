"""The log of answered requests: written by the server, compacted to parquet, read by monitoring and audit."""
