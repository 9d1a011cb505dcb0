variable "project" {
  description = "Id of the Google Cloud project; it must exist and have billing."
  type        = string
}

variable "region" {
  description = "Region of everything: runs, images, bucket."
  type        = string
  default     = "europe-west4"
}

variable "name" {
  description = "Prefix of what is created."
  type        = string
  default     = "perennial"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "name must have 3 to 20 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose CI pushes images and submits runs; null gives no CI access."
  type        = string
  default     = null
}

variable "with_cluster" {
  description = "Whether to create a cluster for Kubeflow Pipelines and KServe, too."
  type        = bool
  default     = false
}

variable "zone" {
  description = "Zone of the cluster, in the region; one zone costs less than three."
  type        = string
  default     = "europe-west4-a"
}

variable "cluster_machine" {
  description = "Machine type of the cluster's nodes."
  type        = string
  default     = "e2-standard-8"
}

variable "cluster_nodes_max" {
  description = "Most nodes that the cluster grows to."
  type        = number
  default     = 4
}

variable "keep_runs_days" {
  description = "Days after which artifacts of runs are deleted."
  type        = number
  default     = 180
}
