"""How good and how fast zssr is: `python -m benchmarks --help`."""
