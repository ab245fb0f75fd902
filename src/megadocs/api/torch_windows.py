"""The windows of a run as a map-style torch dataset; its own file, so that streams open without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from megadocs.api.streams import Streams


class TorchWindows(Dataset[dict[str, torch.Tensor]]):
    """Window `i` of the run at index `i`.

    Args:
        streams: the windows.
        with_segments: add `segment_ids`.
    """

    def __init__(self, streams: Streams, *, with_segments: bool) -> None:
        self._streams, self._with_segments = streams, with_segments

    def __len__(self) -> int:
        return len(self._streams)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.from_numpy(self._streams.window(index).astype(np.int64))
        item = {"input_ids": tokens, "labels": tokens.clone()}
        if self._with_segments:
            item["segment_ids"] = torch.from_numpy(self._streams.segments(index).astype(np.int64))
        return item
