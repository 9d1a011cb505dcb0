"""Trace a pipeline's function once more, to read or change its tasks in the order of the source."""

import functools
from collections.abc import Callable
from typing import Any


def traced(definition: Any, visit: Callable[[Any], None]) -> Any:
    """Trace a pipeline and call ``visit`` with each of its tasks, in the order in which the source makes them.

    Args:
        definition: What ``@dsl.pipeline`` returned.
        visit: Receives each of kfp's ``PipelineTask``; it may change the task, and add others.

    Returns:
        The pipeline with the changes.
    """
    from kfp import dsl
    from kfp.dsl.pipeline_context import Pipeline

    @functools.wraps(definition.pipeline_func)
    def visited(*args: Any, **kwargs: Any) -> Any:
        outputs = definition.pipeline_func(*args, **kwargs)
        # A visit may add tasks.
        for task in list(Pipeline.get_default_pipeline().tasks.values()):
            visit(task)
        return outputs

    return dsl.pipeline(name=definition.name, description=definition.description)(visited)
