"""Names of the images; a target's compile replaces them by content-addressed references."""


def image(step: str) -> str:
    """Return the symbolic image name of a step, as it is in the committed pipelines."""
    return f"perennial/{step.replace('_', '-')}"
