"""Build the documentation site: `make docs-site`.

python docs/build_site.py --stage build/docs   # pages, reports and sources as plain files; needs no generator
python docs/build_site.py --site build/site    # the same, built by Material for MkDocs (the extra `docs`), strict

Pages of `docs/`, the README as the home page, the log, the results' own reports, and as plain text the files of the
repository that pages link to. Every link of a page leads to a page, an anchor or a file of the site, or this stops.
Beside the HTML lie the same pages as Markdown, and `llms.txt` lists them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
#: Where the site's sections and pages stand, in reading order: (section, ((title, source), ...)).
NAVIGATION: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("", (("Home", "README.md"),)),
    (
        "Getting started",
        (
            ("Own documents on a laptop", "docs/start/laptop.md"),
            ("A lab with GPUs and vLLM", "docs/start/lab.md"),
            ("A cluster", "docs/start/cluster.md"),
        ),
    ),
    (
        "Guides",
        (
            ("Generation", "docs/generation.md"),
            ("Rows and streams", "docs/streams.md"),
            ("Training", "docs/training.md"),
            ("Evaluation", "docs/evaluation.md"),
            ("Where the time goes", "docs/performance.md"),
            ("Search", "docs/search.md"),
            ("Export", "docs/export.md"),
            ("Several machines", "docs/cluster.md"),
            ("Kinds of synthetic text", "docs/kinds.md"),
            ("From Python", "docs/api.md"),
        ),
    ),
    (
        "Results",
        (
            ("Example reports", "reports.md"),
            ("Does order matter?", "docs/order.md"),
            ("The log", "lab/LOG.md"),
            ("The plan for order", "lab/order.md"),
        ),
    ),
    (
        "Reference",
        (
            ("Glossary", "docs/glossary.md"),
            ("Commands", "docs/commands.md"),
            ("Recipe", "docs/recipe.md"),
            ("The workspace", "docs/workspace.md"),
            ("The report", "docs/report.md"),
            ("Statistics", "docs/statistics.md"),
            ("Orders to the bit", "docs/ordering.md"),
            ("Promises and tests", "docs/reliability.md"),
            ("Facts of the method", "docs/facts.md"),
        ),
    ),
    (
        "Project",
        (
            ("Changes", "CHANGELOG.md"),
            ("Contributing", "CONTRIBUTING.md"),
            ("Security", "SECURITY.md"),
        ),
    ),
)
_LINK = re.compile(
    r"(?P<before>\]\(|(?:src|srcset|href)=\")(?P<target>[^)\"#\s]*)(?P<anchor>#[^)\"\s]*)?(?P<after>[)\"])"
)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_REPORTS, _SOURCES = "reports", "source"


def sources() -> dict[str, str]:
    """Source of every page, relative to the repository -> its path on the site."""
    return {source: _place(source) for _, pages in NAVIGATION for _, source in pages}


def _place(source: str) -> str:
    return "index.md" if source == "README.md" else source.removeprefix("docs/").lower()


def stage(target: Path) -> None:
    """Write pages, images, reports, linked sources and llms.txt into a new folder; what a page links to is there.

    Raises:
        SystemExit: a page is missing from the navigation, or a link leads nowhere.
    """
    unlisted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} - set(sources())
    if unlisted:
        sys.exit(f"not in the navigation of docs/build_site.py: {', '.join(sorted(unlisted))}")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", target / "images")
    shutil.copytree(ROOT / "docs" / "assets", target / "assets")
    wrong: list[str] = []
    for source, place in sources().items():
        text = _reports_page() if source == "reports.md" else (ROOT / source).read_text(encoding="utf-8")
        page = target / place
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_with_links(text, source, target, wrong), encoding="utf-8")
    for report in _reports():
        folder = target / _REPORTS / report.parent.relative_to(ROOT / "results")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(report, folder / "report.html")
    (target / "llms.txt").write_text(_llms_text(), encoding="utf-8")
    wrong += _broken(target)
    if wrong:
        sys.exit("links that lead nowhere:\n  " + "\n  ".join(wrong))


def _reports() -> list[Path]:
    return sorted((ROOT / "results").rglob("report.html"))


def _reports_page() -> str:
    """One line a report: its name, its first sentence."""
    lines = [
        "# Example reports",
        "",
        "What `megadocs run` ends with: one page that opens offline and holds its evidence. Each of these was made by",
        "the command in its folder's README and is kept as it was written.",
        "",
    ]
    for report in _reports():
        results = json.loads((report.parent / "results.json").read_text(encoding="utf-8"))
        name = report.parent.relative_to(ROOT / "results").as_posix()
        answer = " ".join(results["answer"][0].split()).replace("_", "\\_").replace("[", "\\[")
        lines.append(f"- [{name}]({_REPORTS}/{name}/report.html): {answer}")
    return "\n".join(lines) + "\n"


def _with_links(text: str, source: str, target: Path, wrong: list[str]) -> str:
    """The page with every link to a file of the repository made one of the site; those files are copied."""
    here, place = (ROOT / source).parent, Path(_place(source))

    def rewritten(match: re.Match[str]) -> str:
        link, anchor = match["target"], match["anchor"] or ""
        if not link or urlsplit(link).scheme or source == "reports.md":
            return match[0]
        path = Path(os.path.normpath(here / unquote(link)))
        relative = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if not relative or not path.exists():
            wrong.append(f"{source}: {link}")
            return match[0]
        found = os.path.relpath(_on_site(path, relative, target), place.parent)
        return f"{match['before']}{found}{anchor}{match['after']}"

    return _LINK.sub(rewritten, text)


def _on_site(path: Path, relative: str, target: Path) -> str:
    """Where a file or folder of the repository stands on the site."""
    if relative in sources():
        return _place(relative)
    if relative.startswith("docs/images/"):
        return relative.removeprefix("docs/")
    if relative.startswith("results") and path.is_dir():
        return "reports.md"
    if path.is_dir():
        listing = "\n".join(sorted(child.name for child in path.iterdir()))
        return _as_text(f"{relative}/index", listing, target)
    return _as_text(relative, path.read_text(encoding="utf-8"), target)


def _as_text(relative: str, text: str, target: Path) -> str:
    """A file of the repository as a browser shows it: plain text, whatever it is."""
    place = f"{_SOURCES}/{relative}.txt"
    (target / place).parent.mkdir(parents=True, exist_ok=True)
    (target / place).write_text(text, encoding="utf-8")
    return place


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a Markdown page, as the generator makes them of its headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    names = []
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.append(f"{slug}_{count}" if count else slug)
    return frozenset(names)


def _broken(folder: Path) -> Iterator[str]:
    """Links between staged pages that lead to no file or no heading."""
    for page in sorted(folder.rglob("*.md")):
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            link, anchor = match["target"], (match["anchor"] or "").removeprefix("#")
            if urlsplit(link).scheme:
                continue
            found = (page.parent / unquote(link)) if link else page
            name = f"{page.relative_to(folder)}: {link}{match['anchor'] or ''}"
            if not found.is_file() or (anchor and found.suffix == ".md" and anchor not in anchors(found.resolve())):
                yield name


def _llms_text() -> str:
    """What a program that reads the documentation is told: the pages as Markdown."""
    parts = [
        "# megadocs",
        "",
        "> Data-efficient pre-training: synthetic variants of scarce documents, ordered into megadocs, measured with",
        "> error bars. A Python package and the command `megadocs`.",
        "",
        "Every page is Markdown under the address given here; the same address with .html is the page for people.",
    ]
    for section, pages in NAVIGATION:
        parts += ["", f"## {section or 'Home'}", ""]
        parts += [f"- [{title}]({_place(source)})" for title, source in pages]
    return "\n".join(parts) + "\n"


def build(site: Path) -> None:
    """Stage, build strictly, lay the Markdown beside the HTML, check every link of the HTML."""
    staged = site.parent / "docs"
    stage(staged)
    config = site.parent / "mkdocs.json"
    config.write_text(json.dumps(_configuration(staged, site), indent=1), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(config)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    if subprocess.run(command, env=environment, check=False).returncode:
        sys.exit("the generator found faults; it is in the extra `docs`: pip install -c constraints.txt -e '.[docs]'")
    for page in staged.rglob("*.md"):
        place = site / page.relative_to(staged)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, place)
    faults = list(faults_of(site))
    if faults:
        sys.exit("the site has faults:\n  " + "\n  ".join(faults))
    print(f"{site / 'index.html'}: {sum(1 for _ in site.rglob('*.html'))} pages")


def _configuration(staged: Path, site: Path) -> dict[str, object]:
    """What mkdocs.yml would hold: no font, script or address of elsewhere."""
    light = {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "custom", "accent": "custom"}
    dark = {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "custom", "accent": "custom"}
    switches = (("material/weather-sunny", "Dark"), ("material/weather-night", "Light"))
    palette = [
        scheme | {"toggle": {"icon": icon, "name": f"{name} colours"}}
        for scheme, (icon, name) in zip((light, dark), switches, strict=True)
    ]
    return {
        "site_name": "megadocs",
        "site_description": "Data-efficient pre-training with synthetic megadocs",
        "docs_dir": str(staged),
        "site_dir": str(site),
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "palette": palette,
            "features": [
                "navigation.sections",
                "navigation.top",
                "search.highlight",
                "content.code.copy",
                "toc.follow",
            ],
            "icon": {"logo": "material/file-document-multiple-outline"},
        },
        "plugins": ["search", "offline"],
        "extra": {"generator": False, "polyfills": ["assets/iframe-worker.js"]},
        "extra_css": ["assets/site.css"],
        "markdown_extensions": [
            "admonition",
            "attr_list",
            "md_in_html",
            "tables",
            {"toc": {"permalink": True}},
            {"pymdownx.highlight": {"use_pygments": True}},
            "pymdownx.superfences",
        ],
        "validation": {
            "links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn", "absolute_links": "warn"},
            "omitted_files": "ignore",
        },
        "nav": [
            {section: [{title: _place(source)} for title, source in pages]}
            if section
            else {pages[0][0]: _place(pages[0][1])}
            for section, pages in NAVIGATION
        ],
    }


class _Page(HTMLParser):
    """What a page loads, where it links to, and its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("script", "img", "source", "iframe") or (tag == "link" and values.get("rel") != "canonical"):
            self.loads += [values[name] for name in ("src", "href", "srcset") if values.get(name)]


def faults_of(site: Path) -> Iterator[str]:
    """Links of the built pages to nothing, and what they would load from elsewhere."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if path.name == "404.html":  # for servers, with addresses from their root
            continue
        for address in page.loads:
            parts = urlsplit(address)
            if parts.netloc:
                yield f"{name} loads {address}"
            elif parts.scheme != "data" and not (path.parent / unquote(parts.path)).is_file():
                yield f"{name} loads {address}, which is not there"
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_report = "reports" in name.parts  # links to records, which are packed beside the report
            if not target.is_file() and not (target / "index.html").is_file():
                if not is_report:
                    yield f"{name} links to {address}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids | {"__top"}:
                yield f"{name} links to {address}: no such place"


def main() -> None:
    """Stage or build."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--stage", type=Path, help="folder for the plain files")
    place.add_argument("--site", type=Path, help="folder for the built site")
    arguments = parser.parse_args()
    if arguments.stage is not None:
        stage(arguments.stage.resolve())
    else:
        build(arguments.site.resolve())


if __name__ == "__main__":
    main()
