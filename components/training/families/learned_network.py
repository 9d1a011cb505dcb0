"""The wide and deep network as a learned function, whichever way its weights were found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.preprocessing import NetworkPreprocessing, NumbersEncoding, Preprocessing
from components.shared.inputs.rows import Inputs
from components.shared.learning import fitting, network, onnx_network
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.network import WideDeep
from components.shared.learning.onnx_graph import GraphBuilder


@dataclass(frozen=True)
class LearnedNetwork:
    """A trained network behind its preprocessing; implements ``Learned``."""

    encoding: Encoding
    target: LabelEncoding
    core: WideDeep

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Answer raw inputs by Keras."""
        return fitting.logits(self.core, network.encode(self.encoding, inputs.feed()))

    def nodes(self, builder: GraphBuilder) -> str:
        """Add preprocessing and network."""
        return onnx_network.logits(builder, self.encoding, self.core)

    def save(self, folder: Path, name: str) -> None:
        """Write the whole Keras model, from raw inputs to scores."""
        network.assemble(self.encoding, self.target, self.core).save(folder / _file(name))

    def preprocessing(self, family: str, name: str) -> dict[str, Preprocessing]:
        """Return the encoding, and what fixes the shapes of the weights."""
        return {
            family: NetworkPreprocessing(
                weights=_file(name),
                numbers=NumbersEncoding.model_validate(self.encoding.numbers()),
                vocabulary=tuple(map(tuple, self.encoding.vocabulary)),
                hidden=tuple(self.core.hidden),
                embedding=self.core.embedding,
                dropout=self.core.dropout,
            )
        }

    def content(self) -> bytes:
        """Return the weights with their shapes."""
        arrays = self.core.get_weights()
        return b"".join(f"{array.dtype.str}{array.shape}".encode() + array.tobytes() for array in arrays)

    def edges(self) -> list[NDArray[np.float32]]:
        """Return the edges of the buckets, and the range."""
        feature = np.array(self.encoding.bucket_feature, int)
        lows = np.array(self.encoding.bucket_low, np.float32)
        return [
            np.array([*lows[feature == number], low, high], np.float32)
            for number, (low, high) in enumerate(zip(self.encoding.low, self.encoding.high, strict=True))
        ]

    def is_additive(self) -> bool:
        """Return whether the network has no hidden layer, which is where features interact."""
        return not self.core.kernels


def _file(name: str) -> str:
    return f"{name}.keras"
