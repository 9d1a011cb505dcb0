output "target" {
  description = "What to write to targets/vertex.yaml."
  value = {
    project         = var.project
    region          = var.region
    storage         = { uri = "gs://${google_storage_bucket.data.name}/perennial" }
    images          = { registry = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}" }
    service_account = google_service_account.steps.email
  }
}

output "cluster" {
  description = "The command that writes the cluster into kubectl's configuration; null without a cluster."
  value       = var.with_cluster ? "gcloud container clusters get-credentials ${google_container_cluster.perennial[0].name} --zone ${var.zone} --project ${var.project}" : null
}

output "bucket_keys" {
  description = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the cluster's Secrets; null without a cluster."
  sensitive   = true
  value = var.with_cluster ? {
    id  = google_storage_hmac_key.pods[0].access_id
    key = google_storage_hmac_key.pods[0].secret
  } : null
}

output "ci" {
  description = "What CI's login needs; null without CI."
  value = local.with_ci ? {
    workload_identity_provider = google_iam_workload_identity_pool_provider.github[0].name
    service_account            = google_service_account.ci[0].email
  } : null
}
