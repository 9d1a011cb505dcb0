"""KServe's ModelServer as it comes, around the same ONNX model.

Runs in the virtualenv of ``serving``: ``python -m pipelines.bench.kserve_stock PACKAGE PORT GRPC_PORT``.
"""

import sys
from pathlib import Path
from typing import Any

from pipelines.bench.bare_model import BareModel


def main() -> None:
    """Serve the package on two ports."""
    package, port, grpc_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # KServe parses the command line at import; it must not see ours.
    sys.argv[1:] = []
    from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

    class Stock(Model):
        def __init__(self) -> None:
            super().__init__("bench")
            self.model = BareModel(package)
            self.ready = True

        def predict(self, payload: dict[str, Any] | InferRequest, headers: Any = None, **named: Any) -> Any:
            if not isinstance(payload, InferRequest):
                rows = payload["instances"]
                scores = self.model.score({name: [row[name] for row in rows] for name in self.model.features})
                return {"predictions": scores.tolist()}
            scores = self.model.score({tensor.name: tensor.data for tensor in payload.inputs})
            output = InferOutput("score", list(scores.shape), "FP32", data=scores.ravel().tolist())
            return InferResponse(payload.id or "", "bench", [output])

    ModelServer(http_port=port, grpc_port=grpc_port).start([Stock()])


if __name__ == "__main__":
    main()
