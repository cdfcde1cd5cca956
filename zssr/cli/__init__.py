"""The command: plan a batch, run it one by one or in several processes, and report."""
