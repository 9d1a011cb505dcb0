"""Import TensorFlow Data Validation without its import-time messages in the log."""

import contextlib
import io
import logging
import os
import warnings
from typing import Any


def tfdv() -> Any:
    """Return the library; the first call is slow, because it imports TensorFlow and Beam."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    level = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            import tensorflow_data_validation
        finally:
            logging.disable(level)
    return tensorflow_data_validation


def load_library() -> None:
    """Import the library, for those who will use it later and have nothing to do now."""
    tfdv()
