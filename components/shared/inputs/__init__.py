"""What a row is: a table's columns as the model's raw inputs, without TensorFlow."""
