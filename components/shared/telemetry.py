"""Environment variables that disable the telemetry of libraries; set them in every process that we start."""

OFF = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # ONNX Runtime sends the name and hashes of each session's model (Linux builds since 1.29).
    "ORT_DISABLE_TELEMETRY": "1",
}
