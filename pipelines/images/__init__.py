"""What a step runs in: locks, virtualenvs, images with content-addressed references, and their bills of materials."""
