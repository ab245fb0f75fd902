"""What the answer says on corpora that no setting was chosen on: a real engine, and one that only shuffles words.

    python lab/corpora.py runs/corpora                     # all five; what is finished is reused
    python lab/corpora.py runs/corpora german code         # some of them
    python lab/corpora.py runs/corpora --table             # results/corpora/README.md again, nothing is run

Texts are those of a Debian 12 machine with CPython: licences (fewer than 40 documents), manual pages in German, modules
of Perl (code), the manual of grep (one long file), chapters of Python's language reference (the corpus on which
recipes/own.yaml is timed); `SIZE` characters of each. Two experiments each, both recipes/own.yaml without latent
thoughts and stitching, with two seeds:

* `real`: SmolLM2-135M-Instruct writes two rephrases of each document; nine trials, too few for a certificate;
* `shuffled`: replies are words of the prompt in random order, and nothing is tuned on purpose (4 epochs for all): the
  badly tuned baseline that makes any text look good. A headline above 1.05x without its warning would be a fault.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import megadocs

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "corpora"
#: Characters of a corpus: the same share from the beginning of each of its texts.
SIZE = 50_000


def licences() -> dict[str, str]:
    """The licences of Debian's base system, each once (some names are links)."""
    files = [path for path in Path("/usr/share/common-licenses").iterdir() if not path.is_symlink()]
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}


def german() -> dict[str, str]:
    """Fifty manual pages in German, those of programs, as `man` shows them."""
    pages = sorted(Path("/usr/share/man/de/man1").glob("*.gz"))
    return {page.stem: _plain(page) for page in pages[:: max(1, len(pages) // 50)][:50]}


def _plain(page: Path) -> str:
    command = ["man", "-l", "-Tutf8", "--nh", "--nj", str(page)]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"MANWIDTH": "90", "PATH": "/usr/bin:/bin"}
    )
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown.stdout)


def code() -> dict[str, str]:
    """Fifty modules of Perl's library, of 2,000 to 8,000 characters."""
    files = sorted(Path("/usr/share/perl").glob("5.*.*/**/*.pm"))
    texts = {str(path.relative_to("/usr/share/perl")): path.read_text("utf-8", "replace") for path in files}
    fitting = [name for name, text in texts.items() if 2000 <= len(text) <= 8000]
    return {name: texts[name] for name in fitting[:: max(1, len(fitting) // 50)][:50]}


def one_file() -> dict[str, str]:
    """The manual of grep as one text."""
    with gzip.open("/usr/share/info/grep.info.gz", "rt", encoding="utf-8") as file:
        return {"grep": file.read()}


def reference() -> dict[str, str]:
    """The fifty chapters of Python's language reference in `pydoc` that have 660 to 9,300 characters."""
    from pydoc_data.topics import topics

    return {name: text for name, text in topics.items() if 660 <= len(text) <= 9300}


CORPORA: dict[str, Callable[[], dict[str, str]]] = {
    "licences": licences,
    "german": german,
    "code": code,
    "one_file": one_file,
    "reference": reference,
}
SETTINGS: dict[str, list[str]] = {
    "real": ["tune={max_runs: 9}"],
    "shuffled": ["tune=off", "train.real_epochs=4", "generate.engine={kind: fake}"],
}


def write_texts(name: str, folder: Path) -> None:
    """The texts of one corpus as files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = CORPORA[name]()
    for title, text in texts.items():
        beginning = text[: SIZE // len(texts)]
        (folder / f"{title.replace('/', '.')}.txt").write_text(beginning, encoding="utf-8")


def write_recipe(path: Path, source: Path) -> None:
    """`recipes/own.yaml` for these texts, without thoughts, stitching and what they cost."""
    subprocess.run([sys.executable, "-m", "megadocs", "init", str(path.parent), "--source", str(source)], check=True)
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe["generate"].pop("thought")
    recipe["arms"] = {arm: recipe["arms"][arm] for arm in ("real_only", "real_2x", "simple", "shuffled_words")}
    recipe["seeds"] = [0, 1]
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def run(name: str, engine: str, folder: Path) -> dict[str, Any]:
    """One experiment to its end, and what it says."""
    path = folder / f"{name}-{engine}" / "recipe.yaml"
    if not path.exists():
        write_texts(name, folder / "texts" / name)
        write_recipe(path, folder / "texts" / name)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "megadocs", "run", str(path), *SETTINGS[engine]], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return summary(path.parent) | {"processor_seconds": round(used)}


def summary(workspace: Path) -> dict[str, Any]:
    """The answer with its numbers: multipliers, intervals, the control beside them."""
    results = megadocs.open_workspace(workspace).results
    headline = results.data["sets"][0]
    worth = {
        row["arm"]: {key: row[key] for key in ("estimate", "lower", "upper")} for row in headline["data_efficiency"]
    }
    return {
        "documents": {
            part: len(megadocs.open_workspace(workspace).documents(part)) for part in ("train", "validation", "test")
        },
        "losses": {row["arm"]: row["loss"] for row in headline["losses"]},
        "units": [headline["num_resampled"], headline["resampled"]],
        "worth": worth,
        "no_worth": headline["no_data_efficiency"],
        "beats_control": [row["arm"] for row in headline["controls"] if row["beats"]],
        "answer": results.answer,
    }


def told(worth: dict[str, Any] | None) -> str:
    """`1.52x [1.31x, more than 2.00x]`, or what there is of it."""
    if worth is None or worth["estimate"] is None:
        return "none"
    ends = [worth["estimate"], worth["lower"], worth["upper"]]
    texts = [
        "?" if end is None else f"{'' if end['relation'] == 'equal' else end['relation'] + ' '}{end['value']:.2f}x"
        for end in ends
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def write_table() -> None:
    """results/corpora/README.md from the JSON files beside it."""
    lines = [
        "# Five corpora that no setting was chosen on",
        "",
        "Written by `python lab/corpora.py runs/corpora` (its head says what the texts and the two experiments are).",
        "",
        "| corpus | engine | up to 2x, held out | simple was worth | shuffled_words | it says first | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CORPORA:
        for engine in SETTINGS:
            path = RESULTS / f"{name}-{engine}.json"
            if not path.exists():
                continue
            found = json.loads(path.read_text(encoding="utf-8"))
            counts, worth = found["documents"], found["worth"]
            held_out = counts["validation"] + counts["test"]
            sentences = " ".join(found["answer"][:3]).replace("|", "/")
            lines.append(
                f"| {name} | {engine} | {counts['train']}, {held_out} | {told(worth.get('simple'))} "
                f"| {told(worth.get('shuffled_words'))} | {sentences} | {found['processor_seconds']} |"
            )
    lines += ["", "s: processor seconds of the whole experiment, text included. 95 % intervals."]
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Run what is asked for and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where texts and workspaces go")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CORPORA)}; by default all")
    parser.add_argument("--engine", choices=list(SETTINGS), help="one of the two experiments")
    parser.add_argument("--table", action="store_true", help="run nothing: write the table again")
    arguments = parser.parse_args()
    for name in () if arguments.table else arguments.names or CORPORA:
        for engine in [arguments.engine] if arguments.engine else SETTINGS:
            RESULTS.mkdir(parents=True, exist_ok=True)
            found = run(name, engine, arguments.folder)
            (RESULTS / f"{name}-{engine}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_table()


if __name__ == "__main__":
    main()
