"""Applying what was learnt: gradual scale steps, self-ensemble, back-projection, tiles."""
