"""Many pictures: planned before any work starts, done one by one or side by side, and told about."""
