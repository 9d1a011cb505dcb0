"""The floor that the model server is measured against: bare FastAPI + uvicorn around the same ONNX model.

Runs in the virtualenv of ``serving``: ``python -m pipelines.bench.bare_fastapi PACKAGE PORT``. It reads V1 and V2
requests without checking them and answers the scores: no limits, no flags, no ids, no metrics, no log.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from pipelines.bench.bare_model import BareModel


def application(package: Path) -> FastAPI:
    """Return the application for one model package."""
    model = BareModel(package)
    app = FastAPI()

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> Response:
        """Score the columns."""
        columns = {tensor["name"]: tensor["data"] for tensor in orjson.loads(await request.body())["inputs"]}
        scores = model.score(columns)
        output = {"name": "score", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
        return _answer({"model_name": name, "id": "", "outputs": [output]})

    @app.post("/v1/models/{name}:predict")
    async def predict(name: str, request: Request) -> Response:
        """Score the rows."""
        rows: Sequence[Mapping[str, Any]] = orjson.loads(await request.body())["instances"]
        scores = model.score({feature: [row[feature] for row in rows] for feature in model.features})
        return _answer({"predictions": scores.tolist()})

    return app


def _answer(content: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def main() -> None:
    """Serve the package on a port of the loopback address."""
    app = application(Path(sys.argv[1]))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
