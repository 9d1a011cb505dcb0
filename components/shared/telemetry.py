"""Libraries that report home unless told not to; whoever starts a process of ours passes these variables."""

OFF = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # ONNX Runtime sends a session's model name and hashes from its first import on (Linux builds since 1.29).
    "ORT_DISABLE_TELEMETRY": "1",
}
