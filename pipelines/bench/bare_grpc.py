"""The floor of the model server's gRPC: a bare grpc.aio server around the same ONNX model.

Runs in the virtualenv of ``serving``: ``python -m pipelines.bench.bare_grpc PACKAGE PORT``.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

from pipelines.bench.bare_model import BareModel

_CONTENTS = {"FP64": "fp64_contents", "BOOL": "bool_contents"}


class BareServicer(stubs.GRPCInferenceServiceServicer):
    """Answers scores.

    Args:
        model: What scores.
    """

    def __init__(self, model: BareModel) -> None:
        self._model = model

    async def ServerLive(self, request: Any, context: Any) -> pb.ServerLiveResponse:
        """Tell that the server is there."""
        return pb.ServerLiveResponse(live=True)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        """Score the columns."""
        columns = {tensor.name: _values(tensor) for tensor in request.inputs}
        scores = self._model.score(columns)
        response = pb.ModelInferResponse(model_name=request.model_name)
        output = response.outputs.add(name="score", datatype="FP32", shape=scores.shape)
        output.contents.fp32_contents.extend(scores.ravel().tolist())
        return response


def _values(tensor: pb.ModelInferRequest.InferInputTensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [text.decode() for text in tensor.contents.bytes_contents]
    return list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))


async def serve(package: Path, port: int) -> None:
    """Serve the package on a port of the loopback address."""
    server = aio.server()
    stubs.add_GRPCInferenceServiceServicer_to_server(BareServicer(BareModel(package)), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
