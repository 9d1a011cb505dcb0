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

output "ci" {
  description = "What CI's login needs; null without CI."
  value = local.with_ci ? {
    workload_identity_provider = google_iam_workload_identity_pool_provider.github[0].name
    service_account            = google_service_account.ci[0].email
  } : null
}
