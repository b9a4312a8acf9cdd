"""Benchmarks: figures that anyone can run again, with their conditions."""
