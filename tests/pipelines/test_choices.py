"""A project chooses the image of a step; the pipeline stays the same, and so does the source that the image holds."""

import pytest

from pipelines.definitions import catalog, compilation
from pipelines.images import choices, lineage, recipes
from pipelines.images.environments import lock_hash
from tests import documents

DUCKDB = documents.PROJECT.model_copy(
    update={"validation": documents.PROJECT.validation.model_copy(update={"backend": "duckdb"})}
)


def test_a_project_chooses_the_image_of_data_validation_and_of_no_other_step():
    steps = catalog.entry("training").steps

    assert choices.images_of(steps, documents.PROJECT) == {step: step for step in steps}
    chosen = choices.images_of(steps, DUCKDB)
    assert {step: name for step, name in chosen.items() if name != step} == {
        "data_validation": "data_validation_duckdb"
    }


@pytest.mark.parametrize("pipeline", ["training", "loop"])
def test_the_choice_changes_one_reference_of_a_compiled_pipeline(pipeline):
    entry = catalog.entry(pipeline)
    images = []
    for project in (documents.PROJECT, DUCKDB):
        chosen = choices.images_of(entry.steps, project)
        ir = compilation.with_references(
            compilation.kept_symbolic(entry), {step: recipes.reference(name) for step, name in chosen.items()}
        )
        executors = ir["deploymentSpec"]["executors"]
        images.append({name: each["container"]["image"] for name, each in executors.items() if "container" in each})

    changed = {name: image for name, image in images[1].items() if images[0][name] != image}
    assert [*changed] == ["exec-data-validation"]
    assert changed["exec-data-validation"].startswith("perennial/data-validation-duckdb:")


@pytest.mark.parametrize("name", recipes.variants())
def test_a_variant_has_the_source_of_its_step_and_a_lock_of_its_own(name):
    variant = recipes.recipe(name)
    step = recipes.recipe(variant.folder.parent.name)

    assert (variant.source, variant.modules) == (step.source, step.modules)
    assert variant.lock_hash != step.lock_hash
    assert name in recipes.names()


def test_the_code_of_a_run_names_the_lock_that_the_project_chose():
    code = lineage.code({"data_validation": "perennial/data-validation-duckdb:0"}, DUCKDB)

    assert code["lock:data_validation"] == lock_hash("data_validation_duckdb")[:16]
