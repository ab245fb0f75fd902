"""The documentation says what the code does: references are up to date, the README's commands and links exist."""

import csv
import functools
import hashlib
import json
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import typer.main

from megadocs.analysis.sentences import multiple_interval_text, multiple_text
from megadocs.cli import VERBS, build_app
from megadocs.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@functools.cache
def application():
    return typer.main.get_command(build_app([]))


def verbs(command):
    return dict(getattr(command, "commands", {}))


def options(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("builder", ["build_reference.py", "build_figures.py"])
def test_what_is_built_is_up_to_date(builder):
    checked = subprocess.run(
        [sys.executable, str(ROOT / "docs" / builder), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_commands_in_the_pages_exist():
    for page in PAGES:
        for verb in re.findall(r"^ {4}(?:\.venv/bin/)?megadocs ([a-z]+)", page.read_text(encoding="utf-8"), re.M):
            assert verb in VERBS, f"{page.name}: megadocs {verb}"


def test_command_lines_in_the_pages_parse():
    """Every line that shows the command: its verb, its options and its recipe keys are those of the parser."""
    wrong, seen = [], 0
    for page in PAGES:
        for line in re.findall(
            r"^(?: {4}|\$ )?(?:\.venv/bin/)?(megadocs [a-z].*)$", page.read_text(encoding="utf-8"), re.M
        ):
            words = shlex.split(re.split(r"\s{2,}|\s#|\\$", line)[0].replace("|", " "), comments=True)[1:]
            command = application()
            for word in words:
                if word in verbs(command):
                    command = verbs(command)[word]
                elif word.startswith("-") and word.partition("=")[0] not in options(command):
                    wrong.append(f"{page.name}: {line}: no option {word}")
            seen += 1
            if command is application():
                wrong.append(f"{page.name}: {line}: no command")
    assert seen > 40
    assert not wrong, "\n".join(wrong)


def test_examples_in_the_help_fit_a_line_of_80_columns():
    """The terminal's help indents them by two: a longer one is broken and cannot be pasted."""
    for path in (ROOT / "src/megadocs/cli").glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.match(r" +megadocs [a-z]+ ", line):
                assert len(line.strip()) <= 78, f"{path.name}: {line.strip()}"


def test_make_targets_in_the_pages_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    targets |= set(re.search(r"^((?:bench-\w+ )+bench-\w+):", (ROOT / "Makefile").read_text(), re.M)[1].split())
    for page in PAGES:
        for target in re.findall(r"^ {4}make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M):
            assert target in targets, f"{page.name}: make {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)#:\"]+)[)\"]", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_says_what_results_small_holds():
    results = json.loads((ROOT / "results" / "small" / "results.json").read_text(encoding="utf-8"))
    rows = {row["arm"]: row for row in results["sets"][0]["data_efficiency"]}
    worth = {arm: f"{multiple_text(row['estimate'])} {multiple_interval_text(row)}" for arm, row in rows.items()}
    opening, _, records = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Cost and time")
    small = opening[opening.index("eight rephrases") :]
    assert set(re.findall(r"\d\.\d\dx \[.*?\]", small)) == {worth["simple_g8"], worth["mis_stitched_g8"]}
    assert f"stitched {multiple_text(rows['stitched_g8']['estimate'])}" in small
    assert f"| small, simple, G = 8 | {worth['simple_g8']} | settings searched" in records
    assert f"| small, stitched, G = 8 | {worth['stitched_g8']} |" in records
    verdicts = {frozenset((row["arm"], row["reference"])): row["verdict"] for row in results["sets"][0]["pairs"]}
    assert verdicts[frozenset(("simple_g8", "stitched_g8"))] == "not separated"
    assert verdicts[frozenset(("simple_g8", "mis_stitched_g8"))] == "not separated"
    assert verdicts[frozenset(("stitched_g8", "mis_stitched_g8"))] == "separated"


def test_the_readme_says_what_results_demo_holds():
    folder, readme = ROOT / "results" / "demo", (ROOT / "README.md").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    worth = {
        row["arm"]: f"{multiple_text(row['estimate'])} {multiple_interval_text(row)}"
        for row in results["sets"][0]["data_efficiency"]
    }
    said = [line for line in readme.splitlines() if line.startswith("| demo,")]
    assert f"| demo, simple, G = 4 | {worth['simple']} |" in said[-1]
    estimate, _, interval = worth["shuffled_words"].partition(" ")
    assert f"**shuffled words came to {estimate}** {interval}" in said[-1]
    gained = {row["arm"]: row["gain_share"] for row in results["sets"][0]["controls"]}
    most = f"but the control shuffled_words came to {estimate} {interval}, so {gained['simple']:.0%}".replace("%", " %")
    assert most in results["answer"][0]  # most of the gain, so the first sentence says it

    opening = re.sub(r"\s+", " ", readme.partition("eight rephrases")[0].replace("**", ""))
    assert set(re.findall(r"\d\.\d\dx \[.*?\]", opening)) == {worth["simple"], worth["shuffled_words"]}
    assert f"shuffled came to {worth['shuffled_words']}: {round(100 * gained['simple'])} % of the gain" in opening
    assert f"(stitched, {worth['stitched'].partition(' ')[0]})" in opening
    verdicts = {frozenset((row["arm"], row["reference"])): row["verdict"] for row in results["sets"][0]["pairs"]}
    assert verdicts[frozenset(("simple", "stitched"))] == "not separated"
    assert verdicts[frozenset(("simple", "shuffled_words"))] == "separated"

    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with (folder / "steps.csv").open(newline="", encoding="utf-8") as file:
        written = [row for row in csv.DictReader(file) if row["step"] == "generate"]
    tokens = sum(int(row["tokens"]) for row in written)
    seconds = float(written[-1]["ended"]) - float(written[0]["began"])
    clock = "{} min {} s".format(*divmod(round(run["seconds"]), 60))
    cost = readme.partition("## Cost and time")[2]
    assert f"took {clock} on a two-core" in cost
    assert f"{tokens:,} tokens of text in {round(seconds)} s" in cost
    assert f"after {round(run['set_up_seconds'])} s of set-up" in cost
    assert f"{run['memory_megabytes'] / 1000:.1f} GB" in cost


@pytest.mark.parametrize(
    ("run", "outcome", "arms"),
    [
        ("small", ("speeches_past_768", "alone"), ("stitched", "simple")),
        ("small", ("test", "windowed"), ("stitched", "simple")),
        ("passages", ("test", "windowed"), ("stitched", "simple")),
        ("passages", ("speeches_past_768", "alone"), ("stitched_8", "simple_8")),
    ],
)
def test_the_readme_says_what_results_order_holds(run, outcome, arms):
    results = json.loads((ROOT / "results" / "order" / run / "results.json").read_text(encoding="utf-8"))
    pairs = next(found["pairs"] for found in results["sets"] if (found["set"], found["mode"]) == outcome)
    pair = next(pair for pair in pairs if {pair["arm"], pair["reference"]} == set(arms))
    sign = 1 if pair["arm"] == arms[0] else -1
    numbers = [sign * pair["difference"], *sorted(sign * end for end in pair["interval"])]
    texts = [f"{number:+.4f}".replace("0.", ".", 1) for number in numbers]
    told = f"{texts[0]}{{}} [{texts[1]}, {texts[2]}]"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert any(told.format(unit) in readme for unit in ("", " nats")), told


@pytest.mark.parametrize("name", ["small", "order", "demo"])
def test_the_sums_of_results_are_those_of_their_files(name):
    folder = ROOT / "results" / name
    said = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    assert said == {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_tables_of_coverage_are_those_that_were_measured():
    """Shares of docs/statistics.md against benchmarks/results/coverage.json; none is from older intervals."""
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    cells = json.loads((ROOT / "benchmarks" / "results" / "coverage.json").read_text(encoding="utf-8"))["designs"]
    own = {name: cell for name, cell in cells.items() if "standard_errors" in cell}
    assert min(cell["experiments"] for cell in own.values()) >= 500
    assert not any("difference_intervals" in cell for cell in own.values())
    for name, cell in own.items():
        shares = [f"{100 * cell[key]:.1f} %" for key in cell["standard_errors"]]
        if name.startswith("null"):
            errors = [f"{100 * error:.1f} %" for error in cell["standard_errors"].values()]
            assert all(f"{share} ({error})" in page for share, error in list(zip(shares, errors, strict=True))[1:])
            assert f"{shares[0]} (standard error {errors[0]})" in page
        else:
            number = re.search(r"\d+", name)[0]
            assert f"| {number} | {cell['experiments']:,} | {' | '.join(shares)} |" in page, name
    for name in ("4 sizes x 3 seeds", "6 sizes x 5 seeds"):
        for quantity, row in cells[name]["profile likelihood"].items():
            other = cells[name]["parametric bootstrap"][quantity]
            label = {"coefficient": "A", "exponent": "B", "asymptote": "C", "multiple": "multiplier"}[quantity]
            told = f"| {label} | {100 * row['coverage']:.1f} % | {row['median_width']:.3f} |"
            assert f"{told} {100 * other['coverage']:.1f} % |" in page, (name, quantity)


def test_recipes_in_the_pages_load(tmp_path):
    seen = 0
    for page in sorted((ROOT / "docs" / "start").glob("*.md")):
        for block in re.findall(r"(?:^(?: {4}.*)?\n)+", page.read_text(encoding="utf-8"), re.M):
            text = textwrap.dedent(block).strip()
            if text.startswith("name: "):
                (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
                recipe = load_recipe(tmp_path / "page.yaml")
                assert {"real_only", "simple"} <= set(recipe.arms)
                seen += 1
    assert seen == 1


def test_the_tests_that_promises_name_exist():
    promises = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    files = list((ROOT / "tests").rglob("*.py"))
    known = {file.stem for file in files}
    for file in files:
        known |= set(re.findall(r"def (test_\w+)", file.read_text("utf-8")))
    named = re.findall(r"\b(test_\w+)(\*?)", promises)
    assert len(named) > 50
    missing = {
        name for name, star in named if name not in known and not (star and any(k.startswith(name) for k in known))
    }
    assert not missing
