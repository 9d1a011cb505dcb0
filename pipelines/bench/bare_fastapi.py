"""The floor that the model server is measured against: bare FastAPI + uvicorn around the same ONNX model.

Runs in the virtualenv of ``serving``: ``python bare_fastapi.py PACKAGE PORT``. It reads columnar V2 requests, believes
them, and answers the scores: no checks, no limits, no flags, no metrics.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

package, port = Path(sys.argv[1]), int(sys.argv[2])
model = json.loads((package / "model.json").read_text())
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(package / "model.onnx", sess_options=options)
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
    scores = session.run(["score"], tensors)[0]
    output = {"name": "score", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
    return Response(orjson.dumps({"model_name": name, "id": "", "outputs": [output]}), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
