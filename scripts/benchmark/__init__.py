"""Benchmarks: `python -m scripts.benchmark`."""
