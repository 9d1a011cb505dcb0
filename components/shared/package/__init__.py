"""The model package: a folder that proves what it holds, and scores rows."""
