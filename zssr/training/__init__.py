"""Training on one image: pairs of sons and fathers, optimizer steps, schedules and adversarial training."""
