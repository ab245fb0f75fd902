"""The page in a real browser: it renders wide and narrow, light and dark, breaks no policy and asks for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from megadocs.report import build_report

from .fixtures_report import make_complete_inputs, make_inputs, with_long_names, with_more_sets

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium found: install it to check the page in a browser"),
]
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]
DARK = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_report(make_inputs()), encoding="utf-8")
    return path


def browse(page: Path, folder: Path, *options: str) -> str:
    """Run the browser once and return what it logged."""
    assert BROWSER is not None
    command = [BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_renders_without_overflow_in_both_schemes(page: Path, tmp_path: Path, width: int, scheme: str) -> None:
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    options = [f"--window-size={width},5000", f"--screenshot={shot}", *(DARK if scheme == "dark" else [])]
    log = browse(page, tmp_path, *options)
    assert "Content Security Policy" not in log
    pixels = np.asarray(imread(shot))[..., :3]
    paper = pixels[2, 2]
    assert paper.mean() > 0.95 if scheme == "light" else paper.mean() < 0.15
    ink = (np.abs(pixels - paper) > 0.1).any(axis=2)
    assert ink[:1200].mean() > 0.01  # the answer and the first figure are there
    assert not ink[:, -6:].any()  # nothing runs over the right edge
    assert not ink[:, :6].any()


def requests_of(page: Path, folder: Path) -> list[str]:
    """Every address that loading the page asked the network for, its own file left out."""
    log = folder / "net.json"
    browse(page, folder, f"--log-net-log={log}", "--dump-dom")
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    urls = {str(event["params"]["url"]) for event in events if "url" in event.get("params", {})}
    return sorted(url for url in urls if url.startswith("http://127.0.0.1"))


@pytest.mark.timeout(600)
def test_policy_stops_every_request(page: Path, tmp_path: Path) -> None:
    foreign = '<main><img src="http://127.0.0.1:9/image.png"><script src="http://127.0.0.1:9/script.js"></script>'
    html = page.read_text(encoding="utf-8").replace("<main>", foreign)
    guarded, open_page = tmp_path / "guarded.html", tmp_path / "open.html"
    guarded.write_text(html, encoding="utf-8")
    open_page.write_text(html.replace("Content-Security-Policy", "X-Nothing"), encoding="utf-8")
    assert len(requests_of(open_page, tmp_path)) == 2  # the log does show what a page asks for
    assert requests_of(guarded, tmp_path) == []


_FRAME = """<iframe id="page" src="{page}" width="{width}" height="900"></iframe><pre id="cut"></pre><script>
document.getElementById("page").onload = () => {{
  const page = document.getElementById("page").contentDocument, cut = [];
  page.querySelectorAll("details").forEach((fold) => fold.open = true);
  const root = page.documentElement, tables = page.querySelectorAll(".table");
  if (root.scrollWidth > root.clientWidth) cut.push("the page");
  for (const table of tables) if (table.scrollWidth > table.clientWidth + 1) cut.push(table.getAttribute("aria-label"));
  document.getElementById("cut").textContent = tables.length + " tables, cut: " + cut.join("; ");
}};
</script>"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [400, 800, 1000, 1280, 1350])
@pytest.mark.parametrize("names", ["short", "long", "7 sets", "9 sets", "11 sets"])
def test_no_table_hides_a_column(tmp_path: Path, width: int, names: str) -> None:
    """Of arms with short names and long ones, and of a table of runs with more columns than any screen here holds."""
    assert BROWSER is not None
    page, frame = tmp_path / "report.html", tmp_path / "frame.html"
    inputs = make_complete_inputs()
    if names == "long":
        inputs = with_long_names(inputs)
    elif names != "short":
        inputs = with_more_sets(inputs, int(names.split()[0]) - len(inputs.results["sets"]))
    page.write_text(build_report(inputs), encoding="utf-8")
    frame.write_text(_FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
    options = ["--allow-file-access-from-files", "--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom"]
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    found = re.search(r"(\d+) tables, cut: ([^<]*)</pre>", shown)
    assert found is not None
    assert int(found.group(1)) > 15
    assert found.group(2) == ""
