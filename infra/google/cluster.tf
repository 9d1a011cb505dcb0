# A cluster for Kubeflow Pipelines and KServe (docs/cluster.md), if one is asked for: its nodes have an account of their
# own, network policies are enforced, and no pod gets the credentials of its node.

resource "google_container_cluster" "perennial" {
  count    = var.with_cluster ? 1 : 0
  name     = var.name
  location = var.zone

  # Its nodes are those of the pool below.
  remove_default_node_pool = true
  initial_node_count       = 1
  deletion_protection      = true
  datapath_provider        = "ADVANCED_DATAPATH"
  enable_shielded_nodes    = true

  release_channel {
    channel = "REGULAR"
  }

  ip_allocation_policy {}

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  depends_on = [google_project_service.api]
}

resource "google_container_node_pool" "nodes" {
  count    = var.with_cluster ? 1 : 0
  name     = "nodes"
  cluster  = google_container_cluster.perennial[0].name
  location = var.zone

  autoscaling {
    min_node_count = 1
    max_node_count = var.cluster_nodes_max
  }

  node_config {
    machine_type    = var.cluster_machine
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.nodes[0].email
    # Rights are those of the account; the scope takes none away.
    oauth_scopes = ["https://www.googleapis.com/auth/cloud-platform"]

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }
}

resource "google_service_account" "nodes" {
  count        = var.with_cluster ? 1 : 0
  account_id   = "${var.name}-nodes"
  display_name = "Nodes of Perennial's cluster"
}

resource "google_project_iam_member" "nodes" {
  count   = var.with_cluster ? 1 : 0
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes[0].member
}

resource "google_artifact_registry_repository_iam_member" "nodes_images" {
  count      = var.with_cluster ? 1 : 0
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes[0].member
}

# The manifests of infra/ speak S3, which Cloud Storage understands with keys of an account.
resource "google_storage_hmac_key" "pods" {
  count                 = var.with_cluster ? 1 : 0
  service_account_email = google_service_account.steps.email
}
