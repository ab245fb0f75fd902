"""Durable files: atomic writes, locks, artifacts with a record, framed logs, verification. Knows no schema."""
