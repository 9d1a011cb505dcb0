"""Pipelines whose steps are called like ours and do next to nothing; a server says the same of them."""
# kfp reads the annotations at run time, so this file has no `from __future__ import annotations`.

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.shared.images import image


@dsl.component(base_image=image("ingestion"), install_kfp_package=False)
def ingestion(how: str) -> str:
    """End as asked."""
    import time

    def raised(name: str, sentence: str) -> None:
        raise type(name, (Exception,), {"__module__": "components.shared.errors"})(sentence)

    if how == "input":
        raised("InputError", "Source 'labels': there is no file labels.csv; expected one. Put it there.")
    if how == "blocked":
        raised("DataBlocked", "42 values are out of range; look at the report.")
    if how == "bug":
        [][1]
    if how == "memory":
        len(bytearray(1 << 30))
    if how == "hung":
        time.sleep(600)
    if how == "retried":
        import os

        if os.environ["KFP_RETRY_INDEX"] == "0":
            raise OSError("the first attempt fails")
    print("ingested", how)
    return how


@dsl.component(base_image=image("split"), install_kfp_package=False)
def split(project: Input[Artifact]) -> str:
    """Read the bundle."""
    with open(project.path, encoding="utf-8") as bundle:
        return bundle.read()


@dsl.component(base_image=image("gate"), install_kfp_package=False)
def gate(after: str, passed: bool) -> bool:
    """Say what it is told to."""
    return passed


@dsl.component(base_image=image("deployment"), install_kfp_package=False)
def deployment() -> str:
    """Release."""
    return "released"


@dsl.component(base_image=image("rejection"), install_kfp_package=False)
def rejection() -> str:
    """Reject."""
    return "rejected"


@dsl.pipeline(name="stub-branches")
def branches(how: str, passed: bool) -> None:
    """Take one of two branches."""
    first = ingestion(how=how)
    judged = gate(after=first.output, passed=passed)
    with dsl.If(judged.output == True, name="promoted"):  # noqa: E712 - kfp builds the condition from ==
        deployment().set_caching_options(False)
    with dsl.Else(name="rejected"):
        rejection().set_caching_options(False)


@dsl.pipeline(name="stub-step")
def step(how: str) -> None:
    """Run one step."""
    ingestion(how=how).set_caching_options(False)


@dsl.pipeline(name="stub-bundle")
def bundled(project_uri: str) -> None:
    """Read a bundle."""
    split(project=dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output)
