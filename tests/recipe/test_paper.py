"""The paper's recipes: each is priced at paper scale in seconds, and each runs at toy scale with the fake engine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from megadocs.analysis.paper_series import paper_figures
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.run import run_experiment
from megadocs.pipeline.tune.price import price_search
from megadocs.recipe import Recipe, load_recipe
from pipeline.corpora import write_texts
from pipeline.inline import InlineExecutor

FOLDER = Path(__file__).parents[2] / "recipes" / "paper"
RECIPES = sorted(FOLDER.glob("*.yaml"))
#: Runs of these take more than a few seconds at any scale.
MANY_ARMS = {"controlled", "epochs", "generations", "sets", "students"}

#: Figures (of `analysis.paper_series`) that the runs of each recipe must fill with values of their own.
FIGURES = {
    "attention": {"attention"},
    "baseline": set(),
    "controlled": {"generations"},
    "controls": {"controls"},
    "ensembles": {"ensembles"},
    "epochs": {"real_epochs", "fraction"},
    "generations": {"generations", "benchmarks"},
    "mixing": {"mixing"},
    "order": {"order"},
    "self_distillation": {"self_distillation"},
    "sets": {"set-short", "set-long", "set-arxiv_cs"},
    "students": {"students"},
}


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", RECIPES, ids=named)
def test_priced_at_paper_scale_without_the_corpus(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    started = time.process_time()
    plan = build_plan(recipe, tmp_path, 8)
    assert time.process_time() - started < 5
    assert plan.corpus["is_assumed"]
    assert not plan.left_out
    train = {line.arm: line for line in plan.lines if line.kind == "train"}
    assert train["real_only"].num_tokens == pytest.approx(3.26e9, rel=0.02)  # published: 3.3B
    rephrases = [line for line in plan.lines if line.name.startswith("generate rephrase")]
    if rephrases:  # nested: the largest G decides, however many arms there are
        largest = max(int(line.name.rpartition("=")[2]) for line in rephrases)
        assert sum(line.num_requests or 0 for line in rephrases) == 164_000 * largest


def test_headline_runs_cost_what_the_paper_paid(tmp_path: Path) -> None:
    plan = build_plan(load_recipe(FOLDER / "generations.yaml"), tmp_path, 8)
    tokens = {line.arm: line.num_tokens for line in plan.lines if line.kind == "train"}
    assert tokens["simple_g32"] == pytest.approx(13e9, rel=0.02)
    assert tokens["stitched_g32"] == tokens["latent_g32"] == pytest.approx(65e9, rel=0.02)
    rephrase = next(line for line in plan.lines if line.name.startswith("generate rephrase"))
    assert rephrase.name == "generate rephrase G=32"  # all of a document's side by side, written once
    assert rephrase.num_tokens == 164_000 * 32 * 669


def test_tuning_is_priced_too(tmp_path: Path) -> None:
    price = price_search(load_recipe(FOLDER / "tuning.yaml"), tmp_path, num_slots=8)
    assert set(price.arms) == {"real_only", "real_2x", "real_4x", "real_8x", "simple_g32", "stitched_g32", "latent_g32"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in MANY_ARMS else [])
        for path in RECIPES
        if path.stem != "tuning"
    ],
)
@pytest.mark.timeout(600)
def test_runs_at_toy_scale(path: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(path, write_texts(tmp_path / "texts", 40))
    outcome = run_experiment(recipe, tmp_path / "ws", executor=InlineExecutor(tmp_path / "ws"))
    assert outcome.errors == []
    assert outcome.report is not None
    results = json.loads((tmp_path / "ws" / "results.json").read_text())
    assert results["missing"] == []
    assert {arm for arm in recipe.arms if not arm.startswith("real_")} <= {row["arm"] for row in results["arms"]}
    page = (tmp_path / "ws" / "report.html").read_text()
    shown = {figure.name for figure in paper_figures(results) if figure.own}
    assert FIGURES[path.stem] <= shown
    assert all(f'id="paper-{name}-own-title"' in page for name in FIGURES[path.stem])
    if path.stem == "baseline":  # its figure is the measured curve, with the law over it
        assert [row["arm"] for row in results["sets"][0]["curve"]] == ["real_only", "real_2x"]
    if path.stem == "sets":
        assert {table["set"] for table in results["positions"]} == {"short", "long", "arxiv_cs"}


def toy_recipe(path: Path, texts: Path) -> Recipe:
    """The recipe with everything small but its arms, orderings and numbers of generations."""
    num_generations = 2 if path.stem in ("baseline", "mixing", "self_distillation") else 32
    overrides = [
        f"corpus.source={texts}",
        "corpus.split={train: 6, validation: 5, test: 5, max_multiple: 2}",
        "generate.engine={kind: fake, model: fake, concurrency: 8, options: {transport: memory}}",
        "generate.split_tokenizer=null",
        f"generate.rephrase={{num_generations: {num_generations}, max_new_tokens: 12}}",
        f"generate.thought={{num_generations: {num_generations}, max_new_tokens: 6}}",
        "tokenizer={kind: train, vocab_size: 260}",
        "mixture={block_windows: 4, rounding: levanter}",
        f"evaluate={toy_evaluation(path, texts)}",
        "analysis={num_bootstrap: 100}",
        "seeds=[0]",
        "train={context_length: 32, batch_size: 4, log_every_steps: 1}",
    ]
    given = load_recipe(path)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
    for name, arm in given.arms.items():
        layers = 2 if arm.get("model.preset", "300m") != "300m" else 1
        small = {f"model.{key}": value for key, value in {**shape, "num_hidden_layers": layers}.items()}
        length = "train.synthetic_epochs" if "train.synthetic_epochs" in arm else "train.real_epochs"
        passes = 0.2 + 0.005 * float(arm.get(length, 16))  # as different from each other as the recipe's
        overrides += [f"arms.{name}.{key}={value}" for key, value in {**small, length: passes}.items()]
    if given.generate.sample is not None:
        overrides += ["generate.sample.num_samples=24", "generate.sample.max_new_tokens=12"]
    overrides += [f"ensembles.{name}.num_members=2" for name in given.ensembles]
    return load_recipe(path, overrides)


def toy_evaluation(path: Path, texts: Path) -> str:
    """The recipe's further sets read from the toy corpus, and one benchmark of two items for the headline recipe."""
    given = load_recipe(path).evaluate
    evaluate: dict[str, Any] = {
        "sets": {name: {"source": str(texts), "limit": 4, "past": entry.past} for name, entry in given.sets.items()}
    }
    if path.stem == "generations":
        items = texts.parent / "piqa.jsonl"
        items.write_text(
            "".join(
                json.dumps({"goal": goal, "sol1": "the river", "sol2": "a stone", "label": label}) + "\n"
                for label, goal in enumerate(("where boats go", "what sinks"))
            )
        )
        evaluate |= {"benchmarks": ["piqa"], "benchmark_data": {"piqa": str(items)}}
    return json.dumps(evaluate)
