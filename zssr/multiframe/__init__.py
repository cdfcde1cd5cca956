"""Several frames of one scene: where each of their pixels lies in the others, and what they show together."""
