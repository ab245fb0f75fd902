"""What stands beside the code for those who host, release and install it: it fits the code and itself."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from megadocs.recipe import shipped_names

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_make_targets_of_the_workflows_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    called = [
        target for path in WORKFLOWS for target in re.findall(r"\bmake ([a-z-]+)", path.read_text(encoding="utf-8"))
    ]
    assert {"lint", "coverage", "docs-site", "dist"} <= set(called) <= targets


def test_every_python_that_is_promised_is_tested():
    tests = yaml.safe_load(WORKFLOWS[0].read_text(encoding="utf-8"))["jobs"]["tests"]["strategy"]["matrix"]
    lowest = re.search(r'requires-python = ">=(\S+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert tests["python"][0] == lowest
    assert tests["python"] == ["3.11", "3.12", "3.13"]
    assert any(row["os"].startswith("macos") for row in tests["include"])


def test_every_action_is_named_with_a_version():
    for path in WORKFLOWS:
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})", action), f"{path.name}: {action}"


def test_hooks_run_the_versions_that_ci_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    ruff = next(repo["rev"] for repo in hooks if "ruff" in repo["repo"])
    assert f"ruff=={ruff.removeprefix('v')}\n" in CONSTRAINTS


def test_every_package_that_is_named_is_pinned():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    optional_services = {"wandb", "trackio", "tensorboard"}
    named = set(re.findall(r'^\s*"?([A-Za-z][\w-]*)>=|"([A-Za-z][\w-]*)>=', text, re.M))
    names = {name for pair in named for name in pair if name} - {"setuptools"} - optional_services
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in CONSTRAINTS.splitlines()}
    assert {name.lower().replace("_", "-") for name in names} <= pinned


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".github" / "release_notes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_the_same_wherever_it_stands(release):
    assert len(set(release.versions().values())) == 1
    version = next(iter(release.versions().values()))
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_release_takes_its_section_of_the_changelog(release):
    assert release.notes("0.1.0").startswith("- First version")
    with pytest.raises(SystemExit, match=r"no section ## 9\.9\.9"):
        release.notes("9.9.9")


def test_the_changelog_is_newest_first():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[0] == "Unreleased"
    versions = [tuple(map(int, heading.split()[0].split("."))) for heading in headings[1:]]
    assert versions == sorted(versions, reverse=True)
    assert all(re.search(r"\(\d{4}-\d{2}-\d{2}\b", heading) for heading in headings[1:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_distributed_holds_what_runs_and_no_more(tmp_path, kind):
    pytest.importorskip("setuptools")
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=copied(tmp_path), capture_output=True, text=True, check=True
    )
    path = tmp_path / built.stdout.splitlines()[-1]
    if kind == "wheel":
        names = zipfile.ZipFile(path).namelist()
    else:
        with tarfile.open(path) as archive:
            names = [name.partition("/")[2].removeprefix("src/") for name in archive.getnames()]
    recipes = {name.removeprefix("megadocs/recipes/") for name in names if name.startswith("megadocs/recipes/")}
    assert {f"{name}.yaml" for name in shipped_names()} <= recipes
    for needed in (
        "py.typed",
        "report/page.css",
        "report/live.html.j2",
        "generate/styles/wikipedia.md",
        "__init__.pyi",
    ):
        assert f"megadocs/{needed}" in names
    assert any(name.endswith("LICENSE") for name in names)
    if kind == "wheel":
        assert {name.partition("/")[0] for name in names} == {
            "megadocs",
            next(n for n in names if "dist-info" in n).split("/")[0],
        }


def copied(folder: Path) -> Path:
    """The tracked files, so that building leaves nothing in the checkout."""
    target = folder / "source"
    target.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive, check=True)
    return target
