"""No features: 'perennial manifests' puts the features.py of the project's feature_repo here."""
