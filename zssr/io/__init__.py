"""Picture files: read by rows and written atomically, pixels and metadata alike."""
