"""TensorFlow Data Validation: statistics of a table, schemas, and where the one violates the other."""
