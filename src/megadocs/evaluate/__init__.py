"""Evaluation: losses per document, ensembles, benchmarks. Every number is kept per document or per item."""
