"""The examples run, at toy size; the notebook is executed cell by cell."""

import importlib.util
import os
from pathlib import Path

import pytest

import megadocs

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_whole_method_on_one_page(toy_recipe, tmp_path, capsys):
    folder = toy_recipe.parent
    settings = ["generate.engine.kind=fake", "generate.engine.model=fake", "generate.engine.options={}"]
    settings += [f"generate.split_tokenizer={folder / 'tokenizer.json'}", "train.real_epochs=2"]
    load("minimal").main(str(folder / "texts"), str(tmp_path / "workspace"), *settings)
    said = capsys.readouterr().out
    assert said.count("nats per token") == 4  # forty documents leave 4x out
    assert "stitched: worth" in said


def test_worth_is_read_between_measured_points_only():
    worth = load("minimal").worth
    curve = [(1, 5.0), (2, 4.0), (4, 3.5)]
    assert worth(4.5, curve) == "1.41x"
    assert worth(4.0, curve) == "2.00x"
    assert worth(5.1, curve) == "at most 1x"
    assert worth(3.0, curve) == "more than 4x"


def test_the_trainer_of_transformers_on_an_arms_stream(finished, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loss = load("own_trainer").main(str(finished.path), "stitched", str(tmp_path / "model"))
    assert 0 < loss < 7
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size >= len(AutoTokenizer.from_pretrained(tmp_path / "model"))


def test_the_notebook_runs(finished, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("MEGADOCS_WORKSPACE", str(finished.path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(megadocs.__file__).parents[1])]))
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    client.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("text/html" in output.get("data", {}) for output in shown) >= 4
    assert not any(output.output_type == "error" for output in shown)
