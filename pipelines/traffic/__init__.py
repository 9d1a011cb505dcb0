"""Send rows of a table to the endpoint at a set rate, as an application would; and the rows of the shipped example."""
