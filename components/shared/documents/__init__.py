"""The files that cross a folder boundary: one typed, versioned model per file, with its only reader and writer."""
