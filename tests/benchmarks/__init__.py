"""Measurements, not timed tests: `python -m tests.benchmarks --help`, and README.md."""
