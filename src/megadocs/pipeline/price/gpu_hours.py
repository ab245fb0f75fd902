"""Hours and money on a named GPU, from FLOPs: `megadocs plan --gpu h100 --price-per-hour 2.50`.

Training and scoring only; what generation takes depends on the engine. The
hours are FLOPs / (peak x MFU): an assumption, said with every number. 0.4 is what well-fed dense models of 150M
parameters and more reach; a student of a few million leaves most of a GPU idle and reaches far less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from megadocs.errors import UsageError

#: Dense bf16 FLOP/s by the makers' data sheets (fp16 for v100 and t4).
PEAK_FLOPS: Mapping[str, float] = {
    "t4": 65e12,
    "l4": 121e12,
    "v100": 125e12,
    "a10": 125e12,
    "rtx4090": 165e12,
    "a100": 312e12,
    "l40s": 362e12,
    "h100": 989e12,
    "h200": 989e12,
    "mi300x": 1307e12,
    "b200": 2250e12,
}
DEFAULT_MFU = 0.4


@dataclass(frozen=True, slots=True)
class GpuPrice:
    """A machine to price on."""

    name: str  # key of `PEAK_FLOPS`
    mfu: float = DEFAULT_MFU  # share of the peak that a run is taken to reach
    per_hour: float | None = None  # money for an hour of one GPU; None: hours only

    def hours(self, flops: float) -> float:
        """Hours of one GPU."""
        return flops / (PEAK_FLOPS[self.name] * self.mfu) / 3600

    def text(self, flops: float) -> str:
        """`1.2 h on one h100 at MFU 0.4 (assumed), 3.00`."""
        hours = self.hours(flops)
        money = f", {hours * self.per_hour:.2f} at {self.per_hour:g} an hour" if self.per_hour is not None else ""
        return f"{hours:.3g} h on one {self.name} at MFU {self.mfu:g} (assumed){money}"

    def to_json(self, flops: float) -> dict[str, Any]:
        """For `--json`."""
        hours = self.hours(flops)
        cost = hours * self.per_hour if self.per_hour is not None else None
        return asdict(self) | {"peak_flops": PEAK_FLOPS[self.name], "flops": flops, "hours": hours, "cost": cost}


def gpu_price(name: str, mfu: float = DEFAULT_MFU, per_hour: float | None = None) -> GpuPrice:
    """A named GPU.

    Raises:
        UsageError: not in the table.
    """
    key = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    if key not in PEAK_FLOPS:
        raise UsageError(f"no peak rate is known of {name!r}", where="--gpu", remedy=f"one of {', '.join(PEAK_FLOPS)}")
    return GpuPrice(key, mfu, per_hour)
