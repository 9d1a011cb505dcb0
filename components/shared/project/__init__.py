"""The types of the project file, which describes a use case and not where it runs.

``pipelines.project.project_file`` parses the file and reports mistakes; the steps read the project from a bundle.
These modules are the only place that defines the defaults.
"""

from components.shared.project.features import Features, FeatureSpec, Split
from components.shared.project.judging import Evaluation, Gate, Validation, ValidationLibrary, Value
from components.shared.project.learning import TUNABLE, Choice, ModelFamily, Range, Training, Trees, Tuning
from components.shared.project.monitoring import AlertBudget, Monitoring, Retraining, ServiceObjectives
from components.shared.project.release import ReleaseSettings
from components.shared.project.running import (
    DefaultResources,
    Resources,
    ServingSettings,
    SizeLimits,
    StepResources,
    Toleration,
)
from components.shared.project.section import ColumnName, Name, Reaction, ResourceName, Section, Share, Text
from components.shared.project.sinks import AlertmanagerSink, EmailSink, FileSink, Sink, WebhookSink
from components.shared.project.tables import Label, Source
from components.shared.project.use_case import Project

__all__ = [
    "TUNABLE",
    "AlertBudget",
    "AlertmanagerSink",
    "Choice",
    "ColumnName",
    "DefaultResources",
    "EmailSink",
    "Evaluation",
    "FeatureSpec",
    "Features",
    "FileSink",
    "Gate",
    "Label",
    "ModelFamily",
    "Monitoring",
    "Name",
    "Project",
    "Range",
    "Reaction",
    "ReleaseSettings",
    "ResourceName",
    "Resources",
    "Retraining",
    "Section",
    "ServiceObjectives",
    "ServingSettings",
    "Share",
    "Sink",
    "SizeLimits",
    "Source",
    "Split",
    "StepResources",
    "Text",
    "Toleration",
    "Training",
    "Trees",
    "Tuning",
    "Validation",
    "ValidationLibrary",
    "Value",
    "WebhookSink",
]
