"""The ONNX Runtime session of an exported model: the one definition of its options."""

from pathlib import Path

import onnxruntime

OUTPUT = "score"
"""Name of the output with the scores."""
MARGIN = "margin"
"""Name of the output with what the scores are made from; see ``contributions``. Older models have none."""
_ERRORS_ONLY = 3


def open_session(model: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Load an exported model on the CPU.

    Args:
        model: The ONNX file.
        threads: Threads of one call. 1 suits a server that answers many small requests; 0 lets ONNX Runtime use every
            core, which suits large batches.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(str(model), sess_options=options, providers=["CPUExecutionProvider"])
