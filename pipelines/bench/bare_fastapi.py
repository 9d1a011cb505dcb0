"""The floor that the model server is measured against: bare FastAPI + uvicorn around the same ONNX model.

Runs in the virtualenv of ``serving``: ``python -m pipelines.bench.bare_fastapi PACKAGE PORT``. It reads columnar V2
requests without checking them and answers the scores: no limits, no flags, no ids, no metrics.
"""

import json
import sys
from pathlib import Path

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from components.shared.package.session import OUTPUT, open_session


def application(package: Path) -> FastAPI:
    """Return the application for one model package."""
    model = json.loads((package / "model.json").read_text())
    session = open_session(package / "model.onnx")
    app = FastAPI()

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> Response:
        """Score the columns."""
        columns = {tensor["name"]: tensor["data"] for tensor in orjson.loads(await request.body())["inputs"]}
        tensors = {}
        if model["numeric"]:
            values = np.array([columns[feature] for feature in model["numeric"]], dtype=np.float32)
            tensors["numeric"] = np.ascontiguousarray(values.T)
        if model["categorical"]:
            texts = [["" if text is None else text for text in columns[feature]] for feature in model["categorical"]]
            tensors["categorical"] = np.array(texts, dtype=object).T
        scores = session.run([OUTPUT], tensors)[0]
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
        answer = {"model_name": name, "id": "", "outputs": [output]}
        return Response(orjson.dumps(answer), media_type="application/json")

    return app


def main() -> None:
    """Serve the package on a port of the loopback address."""
    app = application(Path(sys.argv[1]))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
