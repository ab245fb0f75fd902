"""Which steps a recipe asks for: a step, its identity, and the steps that it needs. Read `experiment.py` first."""
