"""How fast composite_lab is, as ratios to the same work done by hand. Run `python -m tests.benchmarks`."""
