"""The model: its preprocessing, network, training loop and export. Tuning and training share it."""

import os

# TensorFlow reads these variables on its first import; without them it writes messages to every step's log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
