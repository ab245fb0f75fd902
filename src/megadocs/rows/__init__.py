"""Rows: text tokenised once into immutable, content-named segments, with provenance per row."""

from megadocs.rows.build import (
    build_real_rows,
    build_rows,
    build_sampled_rows,
    build_stretched_rows,
)
from megadocs.rows.export import export_stream
from megadocs.rows.hub import push_export
from megadocs.rows.manifest import MissingCount, RowsManifest, iter_store_problems, verify_manifest
from megadocs.rows.published import read_real_documents
from megadocs.rows.published_rows import build_published_rows
from megadocs.rows.reread import Reread
from megadocs.rows.row_store import RowStore, open_rows
from megadocs.rows.segment import SegmentEntry
from megadocs.rows.source import SourceRow

__all__ = [
    "MissingCount",
    "Reread",
    "RowStore",
    "RowsManifest",
    "SegmentEntry",
    "SourceRow",
    "build_published_rows",
    "build_real_rows",
    "build_rows",
    "build_sampled_rows",
    "build_stretched_rows",
    "export_stream",
    "iter_store_problems",
    "open_rows",
    "push_export",
    "read_real_documents",
    "verify_manifest",
]
