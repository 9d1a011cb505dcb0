# What Perennial needs in Google Cloud to run pipelines on Vertex AI: a bucket, a registry for images, an account for the
# steps that may use these two, and, if asked for, access for CI without a key.

locals {
  apis = [
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "container.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "storage.googleapis.com",
  ]
  with_ci = var.github_repository != null
}

resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  service            = each.value
  disable_on_destroy = false
}

resource "google_storage_bucket" "data" {
  name                        = "${var.project}-${var.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.keep_runs_days
      matches_prefix = ["perennial/runs/"]
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_artifact_registry_repository" "images" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of Perennial's steps."

  docker_config {
    immutable_tags = true
  }

  depends_on = [google_project_service.api]
}

# Whom the steps run as.
resource "google_service_account" "steps" {
  account_id   = "${var.name}-steps"
  display_name = "Steps of Perennial's pipelines"
}

resource "google_storage_bucket_iam_member" "steps_data" {
  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectUser"
  member = google_service_account.steps.member
}

resource "google_artifact_registry_repository_iam_member" "steps_images" {
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.steps.member
}

resource "google_project_iam_member" "steps_log" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.steps.member
}

# The step `deployment` uploads models, deploys them to an endpoint, and runs their containers as this same account.
resource "google_project_iam_member" "steps_endpoints" {
  project = var.project
  role    = "roles/aiplatform.user"
  member  = google_service_account.steps.member
}

resource "google_service_account_iam_member" "steps_as_themselves" {
  service_account_id = google_service_account.steps.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.steps.member
}

# Who submits runs and watches releases: CI. People get the same roles from whoever administers the project.
resource "google_service_account" "ci" {
  count        = local.with_ci ? 1 : 0
  account_id   = "${var.name}-ci"
  display_name = "CI that pushes images and submits runs"
}

resource "google_project_iam_member" "ci_runs" {
  count   = local.with_ci ? 1 : 0
  project = var.project
  role    = "roles/aiplatform.user"
  member  = google_service_account.ci[0].member
}

resource "google_project_iam_member" "ci_counts" {
  count   = local.with_ci ? 1 : 0
  project = var.project
  role    = "roles/monitoring.viewer"
  member  = google_service_account.ci[0].member
}

resource "google_storage_bucket_iam_member" "ci_data" {
  count  = local.with_ci ? 1 : 0
  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectUser"
  member = google_service_account.ci[0].member
}

resource "google_artifact_registry_repository_iam_member" "ci_images" {
  count      = local.with_ci ? 1 : 0
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.ci[0].member
}

# A run is started as the steps' account, which whoever starts it must be allowed to use.
resource "google_service_account_iam_member" "ci_as_steps" {
  count              = local.with_ci ? 1 : 0
  service_account_id = google_service_account.steps.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.ci[0].member
}

resource "google_iam_workload_identity_pool" "ci" {
  count                     = local.with_ci ? 1 : 0
  workload_identity_pool_id = "${var.name}-ci"
  depends_on                = [google_project_service.api]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  count                              = local.with_ci ? 1 : 0
  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
    "attribute.ref"        = "assertion.ref"
  }

  # Without a condition every repository of GitHub could ask for a token.
  attribute_condition = "assertion.repository == '${var.github_repository}' && assertion.ref == 'refs/heads/main'"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "ci_from_github" {
  count              = local.with_ci ? 1 : 0
  service_account_id = google_service_account.ci[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[0].name}/attribute.repository/${var.github_repository}"
}
