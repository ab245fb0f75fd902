"""Hours and money on a named GPU."""

import pytest

from megadocs.errors import UsageError
from megadocs.pipeline.price.gpu_hours import PEAK_FLOPS, gpu_price


def test_hours_by_hand():
    price = gpu_price("H100", mfu=0.4, per_hour=2.5)
    flops = 6 * 300e6 * 13e9  # 300M parameters on 13B tokens
    assert price.hours(flops) == pytest.approx(flops / (989e12 * 0.4) / 3600)
    found = price.to_json(flops)
    assert (found["name"], found["mfu"]) == ("h100", 0.4)
    assert found["cost"] == pytest.approx(2.5 * found["hours"])
    assert "MFU 0.4 (assumed)" in price.text(flops)


def test_without_a_price_there_are_hours_only():
    assert gpu_price("a-100").to_json(1e18)["cost"] is None


def test_an_unknown_gpu_is_refused_with_the_known_ones():
    with pytest.raises(UsageError) as caught:
        gpu_price("abacus")
    assert all(name in str(caught.value) for name in PEAK_FLOPS)
