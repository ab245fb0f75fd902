"""From a recipe to a finished report: its steps (read `steps/experiment.py` first), their price, their execution."""
