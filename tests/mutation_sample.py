"""How many mistakes would the tests notice? A random sample of mutants, with the operators of mutmut.

    make build/reach.xml                                                             # which tests run which line
    python tests/mutation_sample.py build/mutants.jsonl --number 300 --seed 1        # run again to go on
    python tests/mutation_sample.py build/mutants.jsonl --table                      # shares by package, survivors

`make test-mutations` tries every mutant of the packages that `[tool.mutmut]` names, which takes days; this draws some
of them, each with the same chance. One mutant is one change of one expression, such as `<` for `<=`, an argument left
out or an error's text. A process of its own imports the changed module in place of the right one and runs the quick
tests that reach the changed line and passed when the first command ran them: those of the module's own package first,
then the others, a minute's worth at most. A line that runs at import (a constant, a field's default) has the tests of
its package and the one of public names. Tests that start further processes run those with the right code. Found: a
test fails, or its processor seconds pass the limit (the clock would take a busy machine for a loop). Each mutant is a
line of the output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
LIMIT_SECONDS = 240
REACH_SECONDS = 60  # of tests by the clock of the run that measured them: a quarter of the limit


class Mutated(MetaPathFinder, SourceFileLoader):
    """Loads one module from changed source; everything else as ever."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self.source = source

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def draw(number: int, seed: int, only: str = "") -> Iterator[dict[str, Any]]:
    """Mutants with equal chances of the files that `only` is part of: place, what it was, what it is, the source."""
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation.file_mutation import create_mutations, deep_replace

    paths = sorted(
        path
        for pattern in SETTINGS["only_mutate"]
        for path in ROOT.glob(pattern)
        if only in str(path.relative_to(ROOT))
    )
    found = {path: create_mutations(str(path), path.read_text(encoding="utf-8")) for path in paths}
    places = [(path, place) for path, (_, mutations, *_) in found.items() for place in range(len(mutations))]
    print(f"{len(places)} mutants in {len(paths)} files", file=sys.stderr)
    for path, place in random.Random(seed).sample(places, min(number, len(places))):
        module, mutations, *_ = found[path]
        old, new = mutations[place].original_node, mutations[place].mutated_node
        where = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)[old]
        source = deep_replace(module, old, new).code
        yield {
            "path": str(path.relative_to(ROOT)),
            "line": where.start.line,
            "end": where.end.line,
            "was": module.code_for_node(old).strip(),
            "is": module.code_for_node(new).strip(),
            "source": source,
        }


def module_name(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")


class Reach:
    """Which tests run a line, and how long each took."""

    def __init__(self, coverage_file: Path, report: Path) -> None:
        from coverage import CoverageData

        self.data = CoverageData(str(coverage_file))
        self.data.read()
        self.seconds: dict[tuple[str, str], float] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                continue  # it would find every mutant
            self.seconds[case.attrib["classname"], case.attrib["name"]] = float(case.attrib["time"])

    def _seconds(self, test: str) -> float | None:
        """What a test took; None where it did not pass."""
        base, bracket, parameter = test.partition("[")
        file, *places, name = base.split("::")
        classname = ".".join([file.removesuffix(".py").replace("/", "."), *places])
        return self.seconds.get((classname, name + bracket + parameter))

    def tests(self, path: str, line: int, end: int) -> list[list[str]]:
        """Groups of tests that run any of these lines, nearest and quickest first; none: it runs at import only."""
        contexts = self.data.contexts_by_lineno(str(ROOT / path))
        names = {name.split("|")[0] for at in range(line, end + 1) for name in contexts.get(at, []) if name}
        took = {name: seconds for name in names if (seconds := self._seconds(name)) is not None}
        package = Path(path).parent.name
        own = f"tests/{package}/test_{Path(path).stem}.py"

        def rank(test: str) -> int:
            return 0 if test.startswith(own) else 1 if test.startswith(f"tests/{package}/") else 2

        chosen, spent = [], 0.0
        for test in sorted(took, key=lambda name: (rank(name), took[name], name)):
            spent += took[test]
            if spent > REACH_SECONDS and chosen:
                break
            chosen.append(test)
        return [group for group in ([t for t in chosen if rank(t) < 2], [t for t in chosen if rank(t) == 2]) if group]


def tests_of(path: str) -> Iterator[list[str]]:
    """For a line that runs at import: files of tests, nearest first."""
    yield [str(ROOT / "tests" / "test_public_names.py")]
    name, package = module_name(path), Path(path).parent.name
    own = ROOT / "tests" / package / f"test_{Path(path).stem}.py"
    near = [own] if own.exists() else []
    short = f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}"
    for test in sorted((ROOT / "tests").glob(f"{package}/test_*.py")):
        text = test.read_text(encoding="utf-8")
        if test != own and (f"{name} import" in text or short in text):
            near.append(test)
    if near:
        yield [str(test) for test in near]
    chosen = [test for test in SETTINGS["pytest_add_cli_args_test_selection"] if f"tests/{package}" in test]
    yield [str(ROOT / test) for test in chosen]


def run_tests(mutant: dict[str, Any], tests: Sequence[str]) -> int:
    """Exit code of pytest in a process of its own with the mutant in it; below 0: ended by the limit."""
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS))
        os.chdir(ROOT)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.path.insert(0, str(ROOT / "src"))
        os.environ["PYTHONPATH"] = str(ROOT / "src")  # of processes that tests start
        sys.meta_path.insert(0, Mutated(module_name(mutant["path"]), ROOT / mutant["path"], mutant["source"]))
        sys.dont_write_bytecode = True
        import pytest

        arguments = ["-x", "-q", "-m", "not slow and not faults", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
        os._exit(int(pytest.main(arguments)))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def is_found(mutant: dict[str, Any], reach: Reach) -> bool:
    """Whether any test notices; a crash of the process counts."""
    groups = reach.tests(mutant["path"], mutant["line"], mutant["end"]) or tests_of(mutant["path"])
    return any(run_tests(mutant, tests) not in (0, 5) for tests in groups)


def table(output: Path) -> None:
    """Shares by package, and the survivors."""
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    tried, found = Counter(), Counter()
    for row in rows:
        for name in (Path(row["path"]).parent.name, "all"):
            tried[name] += 1
            found[name] += row["found"]
    for name in sorted(tried, key=lambda name: (name == "all", name)):
        print(f"{name:10} {found[name]} of {tried[name]} found, {found[name] / tried[name]:.0%}")
    for row in rows:
        if not row["found"]:
            print(f"{row['path']}:{row['line']}: {row['was']!r:.90} -> {row['is']!r:.90}")


def main() -> None:
    """Draw, try, write down; or show what is written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a path: `evaluate/` or `streams/mixture.py`")
    parser.add_argument("--coverage", type=Path, default=ROOT / "build" / "reach.coverage")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "reach.xml")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.output)
        return
    import hypothesis  # noqa: F401  what every process would import again
    import torch  # noqa: F401

    reach = Reach(arguments.coverage, arguments.report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    done = len(arguments.output.read_text(encoding="utf-8").splitlines()) if arguments.output.exists() else 0
    with arguments.output.open("a", encoding="utf-8") as file:
        for place, mutant in enumerate(draw(arguments.number, arguments.seed, arguments.only)):
            if place < done:
                continue
            row = {key: value for key, value in mutant.items() if key != "source"} | {"found": is_found(mutant, reach)}
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
