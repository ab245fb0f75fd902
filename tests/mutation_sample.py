"""How many mistakes would the tests notice? A random sample of mutants, with the operators of mutmut.

    python tests/mutation_sample.py build/mutants.jsonl --number 300 --seed 1        # run again to go on
    python tests/mutation_sample.py build/mutants.jsonl --table                      # shares by package, survivors

`make test-mutations` tries every mutant of the packages that `[tool.mutmut]` names, which takes days; this draws some
of them, each with the same chance. One mutant is one change of one expression, such as `<` for `<=`, an argument left
out or an error's text. A process of its own imports the changed module in place of the right one and runs the quick
tests: first the file of tests that has the module's name and those that mention the module, then all of its package;
tests that start further processes run those with the right code. Found: a test fails, or its processor seconds pass
the limit (the clock would take a busy machine for a loop). Each mutant is a line of the output.
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
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
LIMIT_SECONDS = 240


class Mutated(MetaPathFinder, SourceFileLoader):
    """Loads one module from changed source; everything else as ever."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self.source = source

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def draw(number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Mutants with equal chances: module, line, what it was, what it is, and the changed source."""
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation.file_mutation import create_mutations, deep_replace

    paths = sorted(path for pattern in SETTINGS["only_mutate"] for path in ROOT.glob(pattern))
    found = {path: create_mutations(str(path), path.read_text(encoding="utf-8")) for path in paths}
    places = [(path, place) for path, (_, mutations, *_) in found.items() for place in range(len(mutations))]
    print(f"{len(places)} mutants in {len(paths)} files", file=sys.stderr)
    for path, place in random.Random(seed).sample(places, number):
        module, mutations, *_ = found[path]
        old, new = mutations[place].original_node, mutations[place].mutated_node
        wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
        source = deep_replace(module, old, new).code
        yield {
            "path": str(path.relative_to(ROOT)),
            "line": wrapper.resolve(PositionProvider)[old].start.line,
            "was": module.code_for_node(old).strip(),
            "is": module.code_for_node(new).strip(),
            "source": source,
        }


def module_name(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def tests_of(path: str) -> Iterator[list[str]]:
    """Files of tests, nearest first."""
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


def is_found(mutant: dict[str, Any]) -> bool:
    """Whether any test notices; a crash of the process counts."""
    return any(run_tests(mutant, tests) not in (0, 5) for tests in tests_of(mutant["path"]))


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
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.output)
        return
    import hypothesis  # noqa: F401  what every process would import again
    import torch  # noqa: F401

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    done = len(arguments.output.read_text(encoding="utf-8").splitlines()) if arguments.output.exists() else 0
    with arguments.output.open("a", encoding="utf-8") as file:
        for place, mutant in enumerate(draw(arguments.number, arguments.seed)):
            if place < done:
                continue
            row = {key: value for key, value in mutant.items() if key != "source"} | {"found": is_found(mutant)}
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
