"""Where pipelines run: one YAML file per target, and nothing about it anywhere else."""
