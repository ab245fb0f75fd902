"""Draw the README's figure from results/demo/results.json: `make docs`. A test checks that it is up to date.

python docs/build_figures.py          # write docs/images/worth-light.svg and worth-dark.svg
python docs/build_figures.py --check  # exit 1 when either differs

Every arm is in it, the control without meaning like the methods.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from megadocs.report.figures import efficiency_figure
from megadocs.report.standalone import standalone_svg

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "demo" / "results.json"


def readme_figures() -> dict[str, str]:
    """File name -> SVG."""
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure = efficiency_figure(results, results["sets"][0])
    return {f"worth-{theme}.svg": standalone_svg(figure or "", theme) for theme in ("light", "dark")}


def main() -> None:
    """Write the figures, or compare them with what is there."""
    stale = []
    for name, text in readme_figures().items():
        path = HERE / "images" / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run `make docs`")


if __name__ == "__main__":
    main()
