"""Methods without networks: interpolation, reconstruction under constraints, examples."""
