"""Engines and executors on a Ray cluster; with `execute/ray.py` the only place that knows Ray."""
