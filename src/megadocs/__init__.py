"""megadocs: data-efficient pre-training with synthetic variants of scarce documents."""

__version__ = "0.1.0"
