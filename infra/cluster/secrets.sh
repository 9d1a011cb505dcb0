#!/usr/bin/env bash
# Makes the Secrets of a cluster for trying, with random passwords that no one has to know; existing ones are kept.
# The bucket's keys are those of the S3 server that Kubeflow Pipelines brings.
set -euo pipefail
kubectl=${KUBECTL:-kubectl}
services=${SERVICES:-perennial} models=${MODELS:-perennial-models} pipelines=${PIPELINES:-kubeflow}
endpoint=${S3_ENDPOINT:-seaweedfs.$services.svc.cluster.local:9000}

key() { # key NAMESPACE SECRET KEY: its value, or nothing
  "$kubectl" -n "$1" get secret "$2" --ignore-not-found -o "go-template={{with index .data \"$3\"}}{{. | base64decode}}{{end}}"
}
random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
secret() { # secret NAMESPACE NAME: made from lines KEY=VALUE of standard input, which no list of processes shows
  local lines
  lines=$(cat)
  if [ -n "$("$kubectl" -n "$1" get secret "$2" --ignore-not-found -o name)" ]; then return; fi
  printf '%s\n' "$lines" | "$kubectl" -n "$1" create secret generic "$2" --from-env-file=/dev/stdin
  "$kubectl" -n "$1" label secret "$2" app.kubernetes.io/managed-by=perennial app.kubernetes.io/part-of=perennial >/dev/null
}

password=$(key "$services" perennial-postgres PGPASSWORD)
password=${password:-$(random)}
for namespace in "$services" "$pipelines"; do
  printf 'PGUSER=perennial\nPGPASSWORD=%s\n' "$password" | secret "$namespace" perennial-postgres
done

password=$(key "$services" perennial-redis REDIS_PASSWORD)
password=${password:-$(random)}
# The feature server reads Redis, the materialization step writes it.
for namespace in "$services" "$pipelines"; do
  printf 'REDIS_PASSWORD=%s\nREDIS_CONNECTION_STRING=redis.%s.svc.cluster.local:6379,password=%s\n' \
    "$password" "$services" "$password" | secret "$namespace" perennial-redis
done

user=$(key "$pipelines" mlpipeline-minio-artifact accesskey)
password=$(key "$pipelines" mlpipeline-minio-artifact secretkey)
if [ -z "$user" ] || [ -z "$password" ]; then
  echo "there is no Secret mlpipeline-minio-artifact in $pipelines, which Kubeflow Pipelines brings; install it first." >&2
  exit 2
fi
for namespace in "$services" "$models" "$pipelines"; do
  printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$user" "$password" | secret "$namespace" perennial-s3
done
# From these KServe's storage initializer knows where the bucket is.
"$kubectl" -n "$models" annotate --overwrite secret perennial-s3 "serving.kserve.io/s3-endpoint=$endpoint" \
  serving.kserve.io/s3-usehttps=0 serving.kserve.io/s3-region=us-east-1 serving.kserve.io/s3-useanoncredential=false >/dev/null
