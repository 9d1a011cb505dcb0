"""The collector of a cluster: takes what servers log, and keeps it in a bucket."""
