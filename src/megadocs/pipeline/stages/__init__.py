"""How each kind of step is done, one file a kind; `stage.py` runs one, the others read its context."""
