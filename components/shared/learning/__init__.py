"""The model that tuning searches for and training packs: what it learns from rows, its network, its fit, its export."""

import os

# TensorFlow reads these when it is first imported; without them every step's log opens with its chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
