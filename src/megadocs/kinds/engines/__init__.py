"""The built-in engines, one file each: what `kinds/engine.py` asks of them."""
