"""Ask a server over gRPC for some seconds, and print how many requests it answered per second.

Runs in the virtualenv of ``serving``: ``python -m pipelines.bench.grpc_load PACKAGE PORT ROWS CONNECTIONS SECONDS``.
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample


def request(package: Path, rows: int) -> pb.ModelInferRequest:
    """Return a request with so many rows of the package's sample."""
    sample = PackageSample.read(package).rows
    repeated = (sample * (rows // len(sample) + 1))[:rows]
    message = pb.ModelInferRequest(model_name="bench")
    for feature in ModelFacts.read(package).features:
        values = [row[feature.name] for row in repeated]
        if feature.type == "numeric":
            tensor = message.inputs.add(name=feature.name, datatype="FP64", shape=[rows])
            tensor.contents.fp64_contents.extend(0.0 if value is None else value for value in values)
        elif feature.type == "boolean":
            tensor = message.inputs.add(name=feature.name, datatype="BOOL", shape=[rows])
            tensor.contents.bool_contents.extend(map(bool, values))
        else:
            tensor = message.inputs.add(name=feature.name, datatype="BYTES", shape=[rows])
            tensor.contents.bytes_contents.extend(str(value or "").encode() for value in values)
    return message


async def requests_per_s(package: Path, port: int, rows: int, connections: int, seconds: float) -> float:
    """Ask on so many connections, each as soon as its last answer came."""
    message = request(package, rows)
    answered, start = 0, time.perf_counter()

    async def ask(number: int) -> None:
        nonlocal answered
        # Channels with equal options would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while time.perf_counter() - start < seconds:
                await stub.ModelInfer(message)
                answered += 1

    await asyncio.gather(*map(ask, range(connections)))
    return answered / (time.perf_counter() - start)


if __name__ == "__main__":
    package, (port, rows, connections), seconds = Path(sys.argv[1]), map(int, sys.argv[2:5]), float(sys.argv[5])
    print(asyncio.run(requests_per_s(package, port, rows, connections, seconds)))
