"""`python -m megadocs`: the same as `megadocs`."""

from megadocs.cli import main

main()
