#!/usr/bin/env bash
# Makes a cluster on this machine with everything that Perennial needs; what is there already stays, so it can be run again.
#
#   infra/cluster/cluster.sh [--dry-run] [--api-only]
#
#   --dry-run    print the commands instead
#   --api-only   only a cluster with the definitions of KServe and Gateway API, which is what 'make test' needs of one
#
# TARGET names the target, or its file, whose base and registry the images have (default: kfp).
# Other places to take the parts from (a mirror, a checkout): CERT_MANAGER_MANIFESTS, ENVOY_GATEWAY_MANIFESTS,
# KSERVE_MANIFESTS (a folder or URL with the release's three files), KFP_MANIFESTS (manifests/kustomize of a checkout).
set -euo pipefail
cd "$(dirname "$0")/../.."
here=infra/cluster name=perennial dry='' api_only='' target=${TARGET:-kfp}
for flag; do
  case $flag in
    --dry-run) dry=1 ;;
    --api-only) api_only=1 ;;
    *) echo "cluster.sh: '$flag' is unknown; the flags are --dry-run and --api-only." >&2; exit 2 ;;
  esac
done
# shellcheck source=infra/cluster/versions.env
. "$here/versions.env"
github=https://github.com
cert_manager=${CERT_MANAGER_MANIFESTS:-$github/cert-manager/cert-manager/releases/download/$CERT_MANAGER/cert-manager.yaml}
envoy_gateway=${ENVOY_GATEWAY_MANIFESTS:-$github/envoyproxy/gateway/releases/download/$ENVOY_GATEWAY/install.yaml}
kserve=${KSERVE_MANIFESTS:-$github/kserve/kserve/releases/download/$KSERVE}
kfp=${KFP_MANIFESTS:-$github/kubeflow/pipelines/manifests/kustomize}
revision= && [ -n "${KFP_MANIFESTS:-}" ] || revision="?ref=$KFP"
perennial=.venv/bin/perennial
context=kind-$name
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "cluster.sh: $*" >&2; exit 2; }
run() { echo "+ $*"; [ -n "$dry" ] || "$@"; }
k() { run kubectl --context "$context" "$@"; }
# A manager of its own: what 'perennial' adds to an object of these must not look like the whole of it.
apply() { k apply --server-side --force-conflicts --field-manager perennial-cluster "$@"; }
finished() { echo "This was a dry run: nothing was created."; exit; }
ready() { k -n "$1" wait --for=condition=Available deployment --all --timeout=15m; }
# wrap FOLDER COMPONENT RESOURCE...: a kustomization of somebody else's resources with a component of ours
wrap() {
  local folder=$work/$1 component=$2
  shift 2
  mkdir -p "$folder"
  { echo "resources:"; printf -- '- %s\n' "$@"; echo "components:"; printf -- '- %s\n' "$(realpath --relative-to="$folder" "infra/components/$component")"; } \
    >"$folder/kustomization.yaml"
  [ -z "$dry" ] || sed 's/^/    /' "$folder/kustomization.yaml"
}

if [ -z "$dry" ]; then
  command -v docker >/dev/null || die "there is no docker; kind runs the cluster in a container, so install a Docker engine."
  docker info >/dev/null 2>&1 || die "the Docker engine does not answer; start it ('docker info' says more)."
  command -v kind >/dev/null || die "there is no kind; install $KIND (https://kind.sigs.k8s.io)."
  [[ $(kind version) == *"$KIND"* ]] || die "kind is '$(kind version)', the node's image belongs to $KIND; install that one."
  command -v kubectl >/dev/null || die "there is no kubectl; install the one of Kubernetes 1.34."
  command -v git >/dev/null || die "there is no git; kubectl fetches the manifests of Kubeflow Pipelines with it."
  [ -x "$perennial" ] || die "there is no $perennial; run 'make cluster', which sets it up."
fi

if [ -n "$dry" ] || ! kind get clusters 2>/dev/null | grep -x "$name" >/dev/null; then
  run kind create cluster --config "$here/kind.yaml" --image "$NODE_IMAGE" --wait 5m
fi

if [ -n "$api_only" ]; then
  apply -f "$envoy_gateway"
  apply -f "$kserve/kserve-crds.yaml"
  k wait --for=condition=established --timeout=60s crd/inferenceservices.serving.kserve.io crd/httproutes.gateway.networking.k8s.io
  [ -z "$dry" ] || finished
  echo "The API server is ready: KUBECONFIG=~/.kube/config make test GROUP='deployment infra'"
  exit
fi

apply -f "$cert_manager"
ready cert-manager
# It brings Gateway API's definitions.
apply -f "$envoy_gateway"
ready envoy-gateway-system

apply -f - <<<'{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}'
apply -f "$kserve/kserve-crds.yaml"
wrap kserve kserve-config "$kserve/kserve.yaml"
apply -k "$work/kserve"
ready kserve
apply -f "$kserve/kserve-cluster-resources.yaml"
apply -f "$here/gateway.yaml"

apply -k "$kfp/cluster-scoped-resources$revision"
k wait --for=condition=established --timeout=60s crd/applications.app.k8s.io
wrap kfp argo "$kfp/env/platform-agnostic$revision"
apply -k "$work/kfp"
ready kubeflow

run "$perennial" images build --target "$target"
if [ -n "$dry" ]; then
  echo "+ kind load docker-image --name $name <every image of 'perennial images list --target $target'>"
else
  "$perennial" images list --target "$target" --json |
    .venv/bin/python -c 'import json, sys; print(*(image["reference"] for image in json.load(sys.stdin)), sep="\n")' |
    while read -r image; do run kind load docker-image --name "$name" "$image"; done
fi

echo "+ $perennial manifests kind --target $target | kubectl --context $context apply --server-side --force-conflicts --field-manager perennial -f -"
if [ -z "$dry" ]; then
  "$perennial" manifests kind --target "$target" | kubectl --context "$context" apply --server-side --force-conflicts --field-manager perennial -f -
fi
# The pods wait for them.
run kind export kubeconfig --name "$name" --kubeconfig "$work/kubeconfig"
KUBECONFIG=$work/kubeconfig run "$here/secrets.sh"
ready perennial

[ -z "$dry" ] || finished
sed "s|TARGET|$target|" <<'END'
The cluster is ready. Reach it in three terminals:
  kubectl --context kind-perennial -n kubeflow port-forward svc/ml-pipeline 8888
  kubectl --context kind-perennial -n kubeflow port-forward svc/seaweedfs 9000
  kubectl --context kind-perennial -n envoy-gateway-system port-forward svc/kserve-ingress-gateway 8080:80
then, with the keys of the cluster's own bucket:
  export KUBECONFIG=~/.kube/config KFP_HOST=http://localhost:8888 GATEWAY_URL=http://localhost:8080
  key() { kubectl --context kind-perennial -n kubeflow get secret mlpipeline-minio-artifact -o "jsonpath={.data.$1}" | base64 -d; }
  export AWS_ACCESS_KEY_ID=$(key accesskey) AWS_SECRET_ACCESS_KEY=$(key secretkey)
  perennial submit --target TARGET    # or: make cluster-test
To remove it: kind delete cluster --name perennial
END
