"""Triton's own clients, REST and gRPC, as they come; prints the scores of both."""

import sys

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http

url, grpc_address, name = sys.argv[1:4]
for package, client in (
    (over_http, over_http.InferenceServerClient(url)),
    (over_grpc, over_grpc.InferenceServerClient(grpc_address)),
):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
    assert client.get_server_metadata() and client.get_model_metadata(name)
    inputs = []
    for feature, datatype, values in (
        ("usage", "FP64", np.array([1.5, 3.0])),
        ("active", "BOOL", np.array([True, False])),
        ("plan", "BYTES", np.array([b"basic", b"new"], dtype=object)),
    ):
        inputs.append(package.InferInput(feature, [2], datatype))
        inputs[-1].set_data_from_numpy(values)
    answer = client.infer(name, inputs, request_id="triton")
    print(answer.as_numpy("score").tolist(), [text.decode() for text in answer.as_numpy("decision")])
