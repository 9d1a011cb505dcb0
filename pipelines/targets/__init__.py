"""Where pipelines run: one YAML file per place, and nothing about it anywhere else."""
