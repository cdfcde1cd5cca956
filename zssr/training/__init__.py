"""Learning from one image: pairs of sons and fathers, the training, and when to lower the learning rate."""
