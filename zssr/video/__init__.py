"""Video: clips and animations, frame by frame, with everything around their pictures."""
