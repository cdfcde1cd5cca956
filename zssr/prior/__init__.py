"""The synthetic prior: start weights that were learned from procedurally drawn pictures, and from no photograph."""
