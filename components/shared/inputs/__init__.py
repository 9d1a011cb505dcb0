"""Convert a table's columns to the model's raw inputs, without TensorFlow."""
