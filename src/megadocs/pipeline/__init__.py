"""From a recipe to a finished report: the steps (`steps.py`, the page to read first), their price, their execution."""
