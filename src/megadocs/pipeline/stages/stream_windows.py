"""Sample windows of trained arms for the report, from what their records name."""

from __future__ import annotations

from collections.abc import Mapping

from megadocs.corpus import SplitCorpus
from megadocs.errors import MegadocsError
from megadocs.pipeline.stages.arm_data import build_arm_mixture
from megadocs.report import StreamWindow
from megadocs.rows import RowsManifest, open_rows
from megadocs.store.artifact import Artifact, Workspace
from megadocs.streams import describe_stream, render_plain, sample_window
from megadocs.text.tokenizer import Tokenizer

_MAX_ARMS = 12
#: Ordering more rows than this takes longer than a report should.
_MAX_ROWS = 1_000_000


def read_stream_windows(
    trained: Mapping[str, Artifact], workspace: Workspace, corpus: SplitCorpus, tokenizer: Tokenizer
) -> list[StreamWindow]:
    """The first window of every stream of the arms; a stream that several arms share is given once.

    Args:
        trained: arm -> a train artifact of it.
    """
    shown: dict[tuple[object, ...], StreamWindow] = {}
    for arm, artifact in list(trained.items())[:_MAX_ARMS]:
        try:
            windows = _windows_of(arm, artifact, workspace, corpus, tokenizer)
        except MegadocsError as error:  # segments that are gone, an order that runs code: the report is about results
            windows = [StreamWindow([arm], "streams", 0, absent=error.what)]
        for window in windows:
            key = (window.stream, *window.pieces, *window.summary, window.absent)
            known = shown.get(key)
            arms = [*known.arms, arm] if known else [arm]
            shown[key] = StreamWindow(arms, window.stream, 0, window.summary, window.pieces, window.absent)
    windows = list(shown.values())
    if left_out := list(trained)[_MAX_ARMS:]:
        absent = f"{_MAX_ARMS} arms are shown; `megadocs streams show` prints the others"
        windows.append(StreamWindow(left_out, "streams", 0, absent=absent))
    return windows


def _windows_of(
    arm: str, artifact: Artifact, workspace: Workspace, corpus: SplitCorpus, tokenizer: Tokenizer
) -> list[StreamWindow]:
    names = [name for role, name in artifact.record["inputs"].items() if role.startswith("rows")]
    found = [workspace.find("rows", name) for name in names]
    manifests = [RowsManifest.load(rows.path / "rows.json") for rows in found if rows is not None]
    num_rows = sum(manifest.num_rows for manifest in manifests)
    if num_rows > _MAX_ROWS:
        return [StreamWindow([arm], "streams", 0, absent=f"{num_rows:,} rows; use `megadocs streams show`")]
    rows = open_rows(manifests, workspace.root / "segments")
    mixture = build_arm_mixture(artifact.record["config"], rows, corpus)
    windows = []
    for stream in mixture.streams:
        pieces = sample_window(stream, window=0, decode=tokenizer.decode)
        summary = [line.strip() for line in render_plain(describe_stream(stream)).splitlines()]
        windows.append(StreamWindow([arm], stream.name, 0, summary, pieces))
    return windows
