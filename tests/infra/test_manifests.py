"""What infra/ puts on a cluster is known to the SDKs field by field, runs with no right it does not need, and talks
to nobody it need not."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import definitions
from tests.infra import rendered, strict
from tests.infra.rendered import Pod

DOCUMENTS = {overlay: rendered.documents(overlay) for overlay in rendered.OVERLAYS}
ALL = [(overlay, document) for overlay, documents in DOCUMENTS.items() for document in documents]
WORKLOADS = [(overlay, document) for overlay, document in ALL if document["kind"] in rendered.WORKLOADS]
# The SDKs have no types of Envoy Gateway's.
OF_THE_SDKS = [(o, d) for o, d in ALL if not d["apiVersion"].startswith("gateway.envoyproxy.io/")]
POLICIES = [(o, d) for o, d in ALL if (o, d) not in OF_THE_SDKS]
# A folder with the definitions that a release of Envoy Gateway publishes.
PUBLISHED = os.environ.get("PERENNIAL_ENVOY_GATEWAY_CRDS", "")
CLUSTER_MD = (rendered.ROOT / "docs" / "cluster.md").read_text()
STEP = Pod("kubeflow", {"workflows.argoproj.io/workflow": "training-1"})
DEPLOYMENT = Pod("kubeflow", {**STEP.labels, "app.kubernetes.io/component": "deployment"})
MODEL = Pod("perennial-models", {"perennial/project": "churn"})
GATEWAY = Pod("envoy-gateway-system", {"app.kubernetes.io/component": "proxy"})
OUTSIDE = Pod("outside")
OTHERS = {
    "step": STEP,
    "deployment": DEPLOYMENT,
    "model": MODEL,
    "gateway": GATEWAY,
    "dns": Pod("kube-system", {"k8s-app": "kube-dns"}),
    "ml-pipeline": Pod("kubeflow", {"app": "ml-pipeline"}),
    "metadata": Pod("kubeflow", {"component": "metadata-grpc-server"}),
    "seaweedfs": Pod("kubeflow", {"app": "seaweedfs"}),
    "application": Pod("shop", {"app": "shop"}, {"perennial/feature-client": "true"}),
    "their-model": Pod("theirs", {"app": "isvc.iris"}, {"perennial/log-client": "true"}),
    "stranger": Pod("default", {"app": "stranger"}),
    "outside": OUTSIDE,
}
PORTS = (53, 80, 443, 5000, 5432, 6379, 6443, 6566, 8080, 8081, 8333, 8887, 8888, 8090, 9000, 10080)
# Those that run where policies of ours are; what the others do among themselves is theirs.
OURS = ("mlflow", "feature-server", "collector", "postgres", "redis", "step", "model")


def ids(pairs):
    return [f"{overlay} {rendered.title(document)}" for overlay, document in pairs]


@pytest.mark.parametrize(("overlay", "document"), OF_THE_SDKS, ids=ids(OF_THE_SDKS))
def test_the_sdk_knows_every_field(overlay, document):
    found = strict.problems(document)

    if document["kind"] == "ClusterStorageContainer":
        # It adds to the object that KServe brought, which holds what is required.
        found = [problem for problem in found if "supported_uri_formats" not in problem]
    assert found == []


@pytest.mark.parametrize(("overlay", "document"), POLICIES, ids=ids(POLICIES))
def test_envoy_gateways_published_definitions_know_every_field(overlay, document):
    if not PUBLISHED:
        pytest.skip("PERENNIAL_ENVOY_GATEWAY_CRDS names no folder with Envoy Gateway's published definitions")
    plural = document["kind"].lower().removesuffix("y") + "ies"
    definition = Path(PUBLISHED) / f"gateway.envoyproxy.io_{plural}.yaml"

    assert definitions.problems(document, definition) == []
    broken = document | {"spec": {**document["spec"], "targetReefs": []}}
    assert len(definitions.problems(broken, definition)) == 1


def test_production_asks_clients_from_outside_who_they_are_and_steps_inside_do_not_pass_there():
    policies = {document["kind"]: document["spec"] for overlay, document in POLICIES if overlay == "production"}

    assert sorted(policies) == ["BackendTrafficPolicy", "ClientTrafficPolicy", "SecurityPolicy"]
    for spec in policies.values():
        assert [(target["name"], target["sectionName"]) for target in spec["targetRefs"]] == [
            ("kserve-ingress-gateway", "https")
        ]
    assert policies["SecurityPolicy"]["jwt"]["providers"] and not policies["SecurityPolicy"]["jwt"].get("optional")
    assert not policies["ClientTrafficPolicy"]["tls"]["clientValidation"].get("optional")
    assert policies["ClientTrafficPolicy"]["tls"]["minVersion"] in ("1.2", "1.3")
    [authority] = policies["ClientTrafficPolicy"]["tls"]["clientValidation"]["caCertificateRefs"]
    assert f"`{authority['name']}`" in CLUSTER_MD and "`kserve-ingress-gateway-tls`" in CLUSTER_MD


def test_a_field_that_is_misspelt_missing_or_of_another_type_is_found():
    [service] = [one for one in DOCUMENTS["kind"] if rendered.title(one) == "Service perennial/mlflow"]
    wrong = yaml.safe_load(yaml.safe_dump(service))
    wrong["spec"]["selectr"] = wrong["spec"].pop("selector")
    wrong["spec"]["ports"] = [{"port": "5000"}, {"name": "no-port"}]

    found = " ".join(strict.problems(wrong))

    assert "Service/mlflow.spec.selectr: V1ServiceSpec has no such field" in found
    assert "'5000' is no int" in found
    assert "Invalid value for `port`, must not be `None`" in found


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_no_two_manifests_describe_the_same_object(overlay):
    assert [name for name, count in Counter(map(rendered.title, DOCUMENTS[overlay])).items() if count > 1] == []


@pytest.mark.parametrize(("overlay", "document"), ALL, ids=ids(ALL))
def test_everything_says_whose_it_is(overlay, document):
    labels = document["metadata"]["labels"] if document["kind"] != "ClusterStorageContainer" else None

    assert labels is None or labels["app.kubernetes.io/managed-by"] == "perennial"
    assert labels is None or labels["app.kubernetes.io/part-of"] == "perennial"


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_our_namespaces_enforce_restricted_pods(overlay):
    namespaces = rendered.of_kind(DOCUMENTS[overlay], "Namespace")

    assert sorted(one["metadata"]["name"] for one in namespaces) == ["perennial", "perennial-models"]
    for one in namespaces:
        assert one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS, ids=ids(WORKLOADS))
def test_a_container_has_no_right_that_it_does_not_need(overlay, workload):
    pod = workload["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    for container in rendered.containers(workload):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS, ids=ids(WORKLOADS))
def test_a_container_says_what_it_takes_and_how_to_see_that_it_lives(overlay, workload):
    for container in rendered.containers(workload):
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    for container in workload["spec"]["template"]["spec"]["containers"]:
        assert {"readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize(("overlay", "workload"), WORKLOADS, ids=ids(WORKLOADS))
def test_an_image_is_ours_by_its_symbolic_name_or_pinned(overlay, workload):
    for container in rendered.containers(workload):
        repository, _, tag = container["image"].partition(":")
        name = repository.removeprefix("perennial/").replace("-", "_")
        described = any((rendered.INFRA / place / name / "image.yaml").exists() for place in (".", "../serving"))
        ours = repository.startswith("perennial/") and not tag and described
        assert ours or (tag and tag != "latest"), container["image"]
        assert container["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_nothing_runs_as_the_default_account_and_no_pod_of_ours_holds_a_token(overlay):
    accounts = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one
        for one in rendered.of_kind(DOCUMENTS[overlay], "ServiceAccount")
    }

    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
    assert ("perennial-models", "perennial-models") in accounts
    for workload in rendered.of_kind(DOCUMENTS[overlay], *rendered.WORKLOADS):
        pod = workload["spec"]["template"]["spec"]
        assert (workload["metadata"]["namespace"], pod["serviceAccountName"]) in accounts
        assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_the_only_rights_are_those_of_the_deployment_step(overlay):
    rights = rendered.of_kind(DOCUMENTS[overlay], "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")

    assert [rendered.title(one) for one in rights] == [
        "Role perennial-models/perennial-deployment",
        "RoleBinding perennial-models/perennial-deployment",
    ]
    role, binding = rights
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}]
    for rule in role["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "serviceaccounts", "roles", "rolebindings"} & set(rule["resources"])


@pytest.mark.parametrize("path", ["components/deployment/README.md", "docs/cluster.md"])
def test_the_role_is_what_the_step_says_it_needs(path):
    """The tests of the deployment step show that each of these is enough, and needed."""
    role = yaml.safe_load((rendered.INFRA / "base" / "models" / "role.yaml").read_text())
    granted = {
        (group, resource): rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    rows = re.findall(
        r"^\| (?:`([\w.]+)`)? ?\| `([\w/]+)` \| ([a-z, ]+) \|", (rendered.ROOT / path).read_text(), re.MULTILINE
    )

    assert granted == {(group, resource): verbs.split(", ") for group, resource, verbs in rows}


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_selectors_find_their_pods_and_nothing_else(overlay):
    documents = DOCUMENTS[overlay]
    for workload in rendered.of_kind(documents, *rendered.WORKLOADS):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert rendered.selects(workload["spec"]["selector"], labels)
    pods = rendered.pods(documents)
    chosen = [
        (rendered.title(one), one["metadata"]["namespace"], one["spec"]["selector"])
        for one in rendered.of_kind(documents, "PodDisruptionBudget")
    ]
    chosen += [
        (rendered.title(one), one["metadata"]["namespace"], {"matchLabels": one["spec"]["selector"]})
        for one in rendered.of_kind(documents, "Service")
        if "selector" in one["spec"]
    ]
    for name, namespace, selector in chosen:
        matched = [
            pod
            for pod in [*pods.values(), MODEL]
            if pod.namespace == namespace and rendered.selects(selector, pod.labels)
        ]
        assert len(matched) == 1, name


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_every_workload_and_every_model_has_one_disruption_budget(overlay):
    budgets = rendered.of_kind(DOCUMENTS[overlay], "PodDisruptionBudget")

    for pod in [*rendered.pods(DOCUMENTS[overlay]).values(), MODEL]:
        own = [
            budget
            for budget in budgets
            if budget["metadata"]["namespace"] == pod.namespace
            and rendered.selects(budget["spec"]["selector"], pod.labels)
        ]
        assert len(own) == 1


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_a_service_leads_to_a_port_that_its_container_names(overlay):
    workloads = {one["metadata"]["name"]: one for one in rendered.of_kind(DOCUMENTS[overlay], *rendered.WORKLOADS)}
    for service in rendered.of_kind(DOCUMENTS[overlay], "Service"):
        if service["spec"].get("type") == "ExternalName":
            continue
        workload = workloads[service["metadata"]["name"]]
        named = {p["name"]: p["containerPort"] for c in rendered.containers(workload) for p in c.get("ports", [])}
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_what_is_referred_to_is_there_or_is_in_the_list_of_docs_cluster_md(overlay):
    documents = DOCUMENTS[overlay]
    held = {
        (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one
        for one in documents
        if "namespace" in one["metadata"]
    }
    secrets = set()
    for workload in rendered.of_kind(documents, *rendered.WORKLOADS):
        namespace = workload["metadata"]["namespace"]
        for container in rendered.containers(workload):
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert ("ConfigMap", namespace, source["configMapRef"]["name"]) in held
                else:
                    secrets.add((namespace, source["secretRef"]["name"]))
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    secrets.add((namespace, variable["valueFrom"]["secretKeyRef"]["name"]))
        for volume in workload["spec"]["template"]["spec"]["volumes"]:
            if "configMap" in volume:
                config = held["ConfigMap", namespace, volume["configMap"]["name"]]
                mounts = [
                    m for c in rendered.containers(workload) for m in c["volumeMounts"] if m["name"] == volume["name"]
                ]
                assert {m["subPath"] for m in mounts if "subPath" in m} <= set(config["data"])
    for account in rendered.of_kind(documents, "ServiceAccount"):
        secrets |= {(account["metadata"]["namespace"], secret["name"]) for secret in account.get("secrets", [])}

    assert secrets
    for namespace, name in secrets:
        assert re.search(rf"^\| `{name}` \|.*`{namespace}`", CLUSTER_MD, re.MULTILINE), f"{name} in {namespace}"


DNS = {(name, "dns", 53) for name in OURS}
STEPS = {
    ("step", "ml-pipeline", 8887),
    ("step", "metadata", 8080),
    ("step", "mlflow", 5000),
    ("step", "gateway", 10080),
    ("step", "outside", 443),
    ("step", "outside", 6443),
    ("deployment", "mlflow", 5000),
    ("deployment", "model", 8080),
}
INGRESS = {
    ("gateway", "model", 8080),
    ("gateway", "model", 8081),
    ("application", "feature-server", 6566),
    ("model", "collector", 8090),
    ("model", "feature-server", 6566),
    ("their-model", "collector", 8090),
}
FLOWS = {
    "kind": {
        *DNS,
        *STEPS,
        *INGRESS,
        ("step", "postgres", 5432),
        ("deployment", "postgres", 5432),
        ("step", "seaweedfs", 8333),
        ("mlflow", "postgres", 5432),
        ("mlflow", "seaweedfs", 8333),
        ("feature-server", "postgres", 5432),
        ("collector", "seaweedfs", 8333),
        ("feature-server", "redis", 6379),
        ("model", "seaweedfs", 8333),
    },
    "production": {
        *(flow for flow in DNS if flow[0] not in ("postgres", "redis")),
        *STEPS,
        *INGRESS,
        ("step", "outside", 5432),
        ("mlflow", "outside", 443),
        ("mlflow", "outside", 5432),
        ("feature-server", "outside", 5432),
        ("collector", "outside", 443),
        ("feature-server", "outside", 6379),
        ("model", "outside", 443),
    },
}


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_exactly_the_flows_that_are_needed_are_open(overlay):
    documents = DOCUMENTS[overlay]
    everybody = {**rendered.pods(documents), **OTHERS}
    ours = [name for name in OURS if name in everybody]

    found = {
        (source, target, port)
        for source in everybody
        for target in everybody
        for port in PORTS
        if source != target and (source in ours or target in ours)
        if rendered.allowed(documents, everybody[source], everybody[target], port)
    }

    assert FLOWS[overlay] == found


def test_the_documentation_has_every_flow():
    for overlay, flows in FLOWS.items():
        for source, target, port in flows - DNS:
            assert re.search(rf"^\| {source} \| {target} \|[^|]*\b{port}\b.*{overlay}", CLUSTER_MD, re.MULTILINE), (
                overlay,
                source,
                target,
                port,
            )


@pytest.mark.parametrize("overlay", rendered.OVERLAYS)
def test_mlflow_hands_no_artifact_through(overlay):
    [mlflow] = [one for one in DOCUMENTS[overlay] if rendered.title(one) == "Deployment perennial/mlflow"]
    [settings] = [one for one in DOCUMENTS[overlay] if one["metadata"]["name"].startswith("perennial-settings")]
    [server] = mlflow["spec"]["template"]["spec"]["containers"]

    assert "--no-serve-artifacts" in server["args"]
    assert settings["data"]["MLFLOW_DEFAULT_ARTIFACT_ROOT"].startswith("s3://")
    assert "postgresql" in settings["data"]["MLFLOW_BACKEND_STORE_URI"]


SECRET_MATERIAL = {
    "a Secret": r"^kind: Secret$",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "an access key": r"\bAKIA[0-9A-Z]{16}\b",
    "a password in a URL": r"\w+://[^\s/:@$]+:[^\s/@${]+@",
    "a password": r"(?i)(password|passwd|secret_?(access_?)?key|secret|token|access_?key(_?id)?)[\"']?\s*[:=]\s*[\"']?"
    r"(?!\s|[$%({<]|-\$|perennial-|mlpipeline-|null|true|false)[^\s\"']{6,}",
}
FILES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "infra"],
    cwd=rendered.ROOT,
    capture_output=True,
    text=True,
).stdout.split()


@pytest.mark.parametrize("path", FILES)
def test_infra_holds_no_secret(path):
    text = (rendered.ROOT / path).read_text()

    assert [name for name, pattern in SECRET_MATERIAL.items() if re.search(pattern, text, re.MULTILINE)] == []


@pytest.mark.parametrize(
    "text",
    [
        "kind: Secret",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENG",
        "password: hunter22",
        "postgresql://perennial:hunter22@postgres/mlflow",
        "secretkey: minio123",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_the_scan_finds_what_it_looks_for(text):
    assert [name for name, pattern in SECRET_MATERIAL.items() if re.search(pattern, text, re.MULTILINE)]
