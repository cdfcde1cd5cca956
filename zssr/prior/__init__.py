"""The synthetic prior: start weights that were learnt from procedurally drawn pictures, and from no photograph."""
