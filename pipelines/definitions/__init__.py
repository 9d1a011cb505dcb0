"""Which pipelines there are, how they are compiled, and the compiled result that is committed."""
