"""``preprocessing.json``: what the models of a package learned beside their weights, so that training can continue."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.documents.document import Document, Part


class NumbersEncoding(Part):
    """Learned preprocessing of the network's inputs; see ``learning.encoding.Encoding``."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    median: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    bucket_feature: tuple[int, ...]
    bucket_low: tuple[float, ...]
    bucket_width: tuple[float, ...]
    gaps: tuple[int, ...]


class NetworkPreprocessing(Part):
    """A network: the encoding of its inputs and what fixes the shapes of its weights."""

    kind: Literal["network"] = "network"
    weights: str
    """File of the package, in the format of Keras."""
    numbers: NumbersEncoding
    vocabulary: tuple[tuple[str, ...], ...]
    """Categories of each categorical feature, without the missing one."""
    hidden: tuple[int, ...]
    """Widths of the hidden layers."""
    embedding: int
    dropout: float


class TreesPreprocessing(Part):
    """Boosted trees: the numbers of the categories, and the directions that every tree follows."""

    kind: Literal["trees"] = "trees"
    weights: str
    """File of the package, in LightGBM's text format."""
    vocabulary: tuple[tuple[str, ...], ...]
    """Categories of each categorical feature, without the missing one."""
    codes: tuple[tuple[int, ...], ...]
    """For each feature, the number of the missing category, then those of the vocabulary."""
    unknown: tuple[int, ...]
    """For each feature, the number of any other category."""
    monotone: tuple[int, ...]
    """Direction of each numeric feature, 0 for none; empty if no feature has one."""


Preprocessing = Annotated[NetworkPreprocessing | TreesPreprocessing, Field(discriminator="kind")]


class PackagePreprocessing(Document):
    """Preprocessing of each model in a package, and of the label; the weights are in files of their own."""

    FILE = "preprocessing.json"

    label_mean: float
    """Mean of the label (regression), otherwise 0."""
    label_scale: float
    """Standard deviation of the label (regression), otherwise 1."""
    members: dict[str, Preprocessing]
    """Family to its preprocessing; a blend has several, any other model one."""
