"""What steps and servers may use, and how large tables and requests may be."""

from typing import Literal

from pydantic import Field, model_validator

from components.shared.project.section import ColumnName, Name, Section

# A Kubernetes quantity: 500m, 2, 256Mi.
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$"
# KFP accepts a narrower syntax for the resources of a pipeline's steps.
_CPU = r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$"
_MEMORY = r"^[0-9]+(Ki|M|Mi|G|Gi|T|Ti)?$"


class ServingSettings(Section):
    """How the model server runs: the first three keys everywhere, the others on a cluster only."""

    online_features: bool = Field(
        False, description="Look up the features that a request leaves out, by its entity, in Feast's online store."
    )
    request_features: tuple[ColumnName, ...] = Field(
        (), description="Features that only clients know: every request has them, and they are never looked up."
    )
    lookup_timeout_s: float = Field(
        1.0, gt=0, le=60, description="Seconds to wait for the feature server before a request is refused."
    )
    feature_server: str = Field(
        "http://feature-server.perennial.svc.cluster.local:6566",
        pattern=r"^https?://.+",
        description="Address of Feast's feature server on a cluster; 'perennial serve' starts one of its own.",
    )
    cpu: str = Field("100m", pattern=_QUANTITY, description="CPU request of a pod.")
    memory: str = Field("256Mi", pattern=_QUANTITY, description="Memory request of a pod.")
    memory_limit: str = Field("1Gi", pattern=_QUANTITY, description="Memory limit of a pod.")
    replicas_min: int = Field(1, ge=1, description="Smallest number of pods.")
    replicas_max: int = Field(3, ge=1, description="Largest number of pods.")
    scale_metric: Literal["cpu", "memory"] = Field("cpu", description="Resource whose usage scales the pods.")
    scale_target: int = Field(80, ge=1, description="Usage above which pods are added, in percent of the request.")
    log_url: str | None = Field(None, description="HTTP sink for KServe's request log; no log without it.")
    log_mode: Literal["all", "request", "response"] = Field("all", description="What KServe logs of each exchange.")
    collector: str | None = Field(
        None,
        pattern=r"^https?://.+",
        description="Address of the collector that keeps the inference log, such as "
        "http://collector.perennial.svc.cluster.local:8090; nothing is logged for monitoring without it.",
    )
    start_s: int = Field(300, ge=10, description="Seconds in which a pod must become ready.")
    drain_s: int = Field(10, ge=0, description="Seconds for which a terminating pod still answers requests.")

    @model_validator(mode="after")
    def _in_order(self) -> "ServingSettings":
        if self.replicas_min > self.replicas_max:
            raise ValueError(f"'replicas_min' {self.replicas_min} exceeds 'replicas_max' {self.replicas_max}")
        return self


class Toleration(Section):
    """A node taint that a step's pod tolerates."""

    key: str | None = Field(None, description="Key of the taint; null matches every key.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the taint's value is compared.")
    value: str | None = Field(None, description="Value of the taint, for the operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint; null matches every effect."
    )


# The keys of a step and of 'default' are the same; a subclass that sets a default must repeat the description.
_STEP = {
    "cpu": "CPU request of the step's pod.",
    "cpu_limit": "CPU limit of the step.",
    "memory": "Memory request of the step's pod.",
    "memory_limit": "Memory limit of the step.",
    "pods": "Number of pods that share the step's work on a cluster; only for 'tuning' and 'batch_scoring'.",
    "gpu": "Number of accelerators.",
    "gpu_type": "Resource name of the accelerator on the nodes.",
    "node_selector": "Labels that a node must have.",
    "tolerations": "Node taints that the step's pod tolerates.",
    "timeout_s": "Seconds after which the step is stopped and the run fails.",
    "retries": "How often a failed step is retried.",
    "retry_wait_s": "Seconds before the first retry.",
    "retry_factor": "Factor by which the wait grows with each retry.",
    "retry_wait_max_s": "Longest wait between retries, in seconds.",
}


class StepResources(Section):
    """Resources, placement and retries of one step; null means the value of 'default'."""

    cpu: str | None = Field(None, pattern=_CPU, description=_STEP["cpu"])
    cpu_limit: str | None = Field(None, pattern=_CPU, description=_STEP["cpu_limit"])
    memory: str | None = Field(None, pattern=_MEMORY, description=_STEP["memory"])
    memory_limit: str | None = Field(None, pattern=_MEMORY, description=_STEP["memory_limit"])
    pods: int | None = Field(None, ge=1, le=64, description=_STEP["pods"])
    gpu: int | None = Field(None, ge=0, description=_STEP["gpu"])
    gpu_type: str | None = Field(None, min_length=1, description=_STEP["gpu_type"])
    node_selector: dict[str, str] | None = Field(None, description=_STEP["node_selector"])
    tolerations: tuple[Toleration, ...] | None = Field(None, description=_STEP["tolerations"])
    timeout_s: int | None = Field(None, ge=1, description=_STEP["timeout_s"])
    retries: int | None = Field(None, ge=0, le=10, description=_STEP["retries"])
    retry_wait_s: int | None = Field(None, ge=0, description=_STEP["retry_wait_s"])
    retry_factor: float | None = Field(None, ge=1, description=_STEP["retry_factor"])
    retry_wait_max_s: int | None = Field(None, ge=0, description=_STEP["retry_wait_max_s"])


class DefaultResources(StepResources):
    """Resources, placement and retries of every step that does not set its own."""

    pods: int = Field(1, ge=1, le=64, description=_STEP["pods"])
    gpu: int = Field(0, ge=0, description=_STEP["gpu"])
    gpu_type: str = Field("nvidia.com/gpu", min_length=1, description=_STEP["gpu_type"])
    node_selector: dict[str, str] = Field(default_factory=dict, description=_STEP["node_selector"])
    tolerations: tuple[Toleration, ...] = Field((), description=_STEP["tolerations"])
    retries: int = Field(0, ge=0, le=10, description=_STEP["retries"])
    retry_wait_s: int = Field(30, ge=0, description=_STEP["retry_wait_s"])
    retry_factor: float = Field(2.0, ge=1, description=_STEP["retry_factor"])
    retry_wait_max_s: int = Field(600, ge=0, description=_STEP["retry_wait_max_s"])


class Resources(Section):
    """Resources of the steps: a default, and exceptions by step."""

    default: DefaultResources = Field(DefaultResources(), description="Resources of every step.")
    steps: dict[Name, StepResources] = Field(
        default_factory=dict, description="Resources that differ from 'default', by step."
    )

    def of(self, step: str) -> DefaultResources:
        """Return the resources of a step: its own values, and the defaults for the others.

        >>> resources = Resources(default={"memory": "2Gi", "retries": 1}, steps={"tuning": {"retries": 0}})
        >>> resources.of("tuning").memory, resources.of("tuning").retries, resources.of("training").retries
        ('2Gi', 0, 1)
        """
        own = self.steps[step].model_dump(exclude_none=True) if step in self.steps else {}
        return DefaultResources.model_validate(self.default.model_dump() | own)


class SizeLimits(Section):
    """Sizes above which a table or a request is rejected."""

    columns: int = Field(500, ge=1, description="Largest number of columns of a source.")
    request_rows: int = Field(10_000, ge=1, description="Largest number of rows in a request.")
    request_mib: float = Field(8.0, gt=0, le=32, description="Largest size of a request body, in MiB.")
