"""What Prometheus and Grafana need: metrics of monitoring, alert rules for the project's promises, a dashboard."""
