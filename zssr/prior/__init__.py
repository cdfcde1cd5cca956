"""Initial weights trained on synthetic pictures (no photographs), and how they are trained."""
