"""The same ONNX model as a custom runtime of MLServer, as it comes.

Runs in a virtualenv of the user's with ``mlserver`` and ``onnxruntime``; PERENNIAL_MLSERVER names its program.
"""

from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

from pipelines.bench.bare_model import BareModel


class Scorer(MLModel):
    """Scores one tensor per feature."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = BareModel(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score the columns."""
        scores = self.model.score({tensor.name: _values(tensor) for tensor in payload.inputs})
        output = ResponseOutput(name="score", datatype="FP32", shape=list(scores.shape), data=scores.ravel().tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])


def _values(tensor: RequestInput) -> list[object]:
    return StringCodec.decode_input(tensor) if tensor.datatype == "BYTES" else list(tensor.data)
