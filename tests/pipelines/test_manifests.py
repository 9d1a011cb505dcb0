"""The manifests that are applied are those in git, with images and features filled in; a cluster's script is sound."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from components.shared.errors import InputError, StepFailed
from pipelines.command import cli
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import manifests as verb
from pipelines.images import overlays as manifests
from pipelines.images.environments import ROOT

SCRIPTS = sorted((ROOT / "infra" / "cluster").glob("*.sh"))
DIGEST = "registry.example.com/team/perennial/mlflow@sha256:" + "1" * 64


@pytest.fixture(name="kubectl")
def _kubectl() -> str:
    found = manifests.kubectl()
    if found is None:
        pytest.skip("no kubectl on PATH nor in KUBECTL: it renders the manifests")
    return found


def images(text: str) -> set[str]:
    return set(re.findall(r"(?m)^\s+image: (.*)$", text))


@pytest.mark.parametrize("overlay", manifests.overlays())
def test_the_committed_manifests_are_fresh(kubectl, overlay):
    path = manifests.RENDERED / f"{overlay}.yaml"

    assert path.read_text() == manifests.render(overlay), "stale; run 'make infra'"


def test_only_what_an_overlay_makes_is_committed():
    assert sorted(path.stem for path in manifests.RENDERED.iterdir()) == manifests.overlays()


def test_an_image_is_named_by_the_digest_that_a_registry_answered_with_or_by_its_content(kubectl):
    text = manifests.render("production", {"mlflow": DIGEST, "feature_server": "perennial/feature-server:12ab"})

    assert images(text) == {DIGEST, "perennial/feature-server:12ab", "perennial/collector"}


def test_nothing_but_the_images_differs_from_what_is_committed(kubectl):
    text = manifests.render("production", {"mlflow": "perennial/mlflow:12ab"})

    assert manifests.render("production") == text.replace("perennial/mlflow:12ab", "perennial/mlflow")


def test_the_projects_features_reach_the_feature_server_and_new_ones_make_new_pods(kubectl, tmp_path):
    rendered = []
    for content in ("one = 1\n", "two = 2\n"):
        (tmp_path / "features.py").write_text(content)
        text = manifests.render("kind", features=tmp_path / "features.py")
        documents = list(yaml.safe_load_all(text))
        [config] = [one for one in documents if one["metadata"]["name"].startswith("feature-repo-")]
        assert config["data"]["features.py"] == content
        assert "registry_type: sql" in config["data"]["feature_store.yaml"]
        assert text.count(config["metadata"]["name"]) == 2
        rendered.append(config["metadata"]["name"])

    assert rendered[0] != rendered[1]


def test_the_verb_fills_in_every_image_of_ours_and_the_examples_features(kubectl):
    done = CliRunner().invoke(cli.main, ["manifests", "kind", "--project", str(ROOT)])

    assert done.exit_code == 0, done.output
    ours = {image for image in images(done.output) if image.startswith("perennial/")}
    assert {image.partition(":")[0] for image in ours} == {
        "perennial/mlflow",
        "perennial/feature-server",
        "perennial/collector",
    }
    assert all(re.fullmatch(r"perennial/[a-z-]+:[0-9a-f]{16}", image) for image in ours)
    assert "churn_v1" in done.output


def test_an_overlay_of_ones_own_may_lie_anywhere(kubectl, tmp_path):
    base = os.path.relpath(ROOT / "infra" / "base", tmp_path.resolve())
    settings = {"name": "perennial-settings", "namespace": "perennial", "literals": ["AWS_REGION=eu-central-1"]}
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [base], "configMapGenerator": [settings]}), encoding="utf-8"
    )

    assert "AWS_REGION: eu-central-1" in manifests.render(str(tmp_path), {"mlflow": DIGEST})


def test_an_unknown_overlay_names_the_known_ones():
    with pytest.raises(InputError, match=re.escape("known are ['kind', 'production']")):
        manifests.render("staging")


def test_an_overlay_that_kustomize_refuses_says_why(kubectl, tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")

    with pytest.raises(StepFailed, match=r"kustomize refuses .*missing\.yaml"):
        manifests.render(str(tmp_path))


def test_without_kubectl_a_sentence_says_so(monkeypatch):
    monkeypatch.setenv("KUBECTL", "kubectl-that-is-not-there")

    with pytest.raises(InputError, match="there is no kubectl"):
        manifests.render("kind")


def test_manifests_are_for_a_cluster():
    with pytest.raises(InputError, match=r"'laptop' is of kind 'laptop', .* name a target of kind kfp"):
        verb.print_manifests("kind", TargetOptions(ROOT, "laptop"), features=False)


def test_the_component_for_argo_adds_one_variable_and_fails_where_its_controller_is_missing(kubectl, tmp_path):
    variable = {"name": "LEADER_ELECTION_IDENTITY", "value": "x"}
    container = {"name": "workflow-controller", "image": "argo:1", "env": [variable]}
    controller = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "workflow-controller", "namespace": "kubeflow"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    component = os.path.relpath(ROOT / "infra" / "components" / "argo", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["argo.yaml"], "components": [component]}), encoding="utf-8"
    )
    (tmp_path / "argo.yaml").write_text(yaml.safe_dump(controller), encoding="utf-8")

    [rendered] = yaml.safe_load_all(manifests.render(str(tmp_path)))
    [changed] = rendered["spec"]["template"]["spec"]["containers"]

    assert {one["name"]: one["value"] for one in changed["env"]}["DEFAULT_REQUEUE_TIME"] == "1s"
    assert variable in changed["env"]
    controller["metadata"]["name"] = "another"
    (tmp_path / "argo.yaml").write_text(yaml.safe_dump(controller), encoding="utf-8")
    with pytest.raises(StepFailed, match="no matches for"):
        manifests.render(str(tmp_path))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_please_shellcheck(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck on PATH")
    done = subprocess.run(
        ["shellcheck", "-x", "-P", str(ROOT), str(script)], capture_output=True, text=True, cwd=script.parent
    )

    assert done.returncode == 0, done.stdout


def dry_run(*flags: str, **env: str) -> str:
    command = [str(ROOT / "infra" / "cluster" / "cluster.sh"), "--dry-run", *flags]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_dry_run_of_the_cluster_prints_every_pinned_part_in_order():
    said = dry_run()
    lines = (ROOT / "infra" / "cluster" / "versions.env").read_text().splitlines()
    versions = dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    assert re.fullmatch(r"kindest/node:v1\.34\.\d+@sha256:[0-9a-f]{64}", versions.pop("NODE_IMAGE"))
    versions.pop("KIND")
    assert [name for name, version in versions.items() if version not in said] == []
    order = ["kind create", "cert-manager.yaml", "install.yaml", "kserve.yaml", "gateway.yaml", "platform-agnostic"]
    order += ["images build", "manifests kind", "secrets.sh"]
    assert [said.index(part) for part in order] == sorted(said.index(part) for part in order)
    assert "latest" not in said
    assert said.endswith("This was a dry run: nothing was created.\n") and "The cluster is ready" not in said


def test_the_images_of_the_cluster_are_those_of_the_target():
    said = dry_run(TARGET="targets/mine.yaml")

    assert said.count("--target targets/mine.yaml") == dry_run().count("--target kfp") == 3
    assert "--target kfp" not in said


def test_a_cluster_for_tests_has_the_definitions_and_nothing_that_runs_a_model():
    said = dry_run("--api-only")

    assert [part for part in ("kind create", "install.yaml", "kserve-crds.yaml", "condition=established")
            if part not in said] == []  # fmt: skip
    assert [part for part in ("kserve.yaml", "cert-manager", "images", "manifests kind") if part in said] == []
    assert said.endswith("This was a dry run: nothing was created.\n")


def test_the_parts_may_come_from_elsewhere():
    said = dry_run(KFP_MANIFESTS="/mirror/kfp", KSERVE_MANIFESTS="/mirror/kserve")

    assert "/mirror/kfp/env/platform-agnostic\n" in said
    assert "/mirror/kserve/kserve.yaml" in said


@pytest.mark.parametrize("tool", ["docker", "kind", "kubectl"])
def test_a_missing_tool_is_named_in_one_sentence(tmp_path, tool):
    present = {"docker": "#!/bin/sh\n", "kind": "#!/bin/sh\necho kind v0.33.0\n", "kubectl": "#!/bin/sh\n"}
    present.pop(tool)
    for name, script in present.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    for name in ("bash", "dirname", "mktemp", "rm", "grep"):
        (tmp_path / name).symlink_to(Path(shutil.which(name) or name))
    done = subprocess.run(
        [str(ROOT / "infra" / "cluster" / "cluster.sh")], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )

    assert done.returncode == 2
    assert re.fullmatch(rf"cluster\.sh: there is no {tool}; .*\n", done.stderr)
