"""The families of models that training can fit: one module each, and their entries in the catalog."""
