"""What targets with a server have in common: a bucket, what the steps read from it, and what comes back."""
