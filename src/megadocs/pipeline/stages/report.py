"""Analyse the runs that there are and build the report: results.json and report.html."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from megadocs.analysis import (
    analyze_experiment,
    benchmark_results,
    dump_results,
    ensemble_results,
    floor_sentences,
    gate_sentences,
    headline_floor,
    json_form,
    near_duplicate_sentences,
    position_tables,
    search_warnings,
    truncation_sentences,
    tuning_sentences,
    world_tables,
)
from megadocs.corpus import SplitCorpus, loss_lines, read_corpus
from megadocs.documents import Document, source_groups
from megadocs.errors import AnalysisError
from megadocs.generate.accounting import num_kept_cut
from megadocs.generate.audit import audit_generations, write_audit
from megadocs.kinds import engine_specs
from megadocs.pipeline.stages.gate_records import gate_rows
from megadocs.pipeline.stages.ngram_floor import ngram_floor
from megadocs.pipeline.stages.run_records import FinishedRun, record_path
from megadocs.pipeline.stages.score_records import benchmark_scores, ensemble_losses, extra_positions, extra_scores
from megadocs.pipeline.stages.stage import StageContext
from megadocs.pipeline.stages.stream_windows import read_stream_windows
from megadocs.pipeline.steps.search_records import read_searches
from megadocs.recipe import AnalysisConfig
from megadocs.report import (
    Generated,
    GenerationAccount,
    ReportInputs,
    Sample,
    StepRecord,
    build_report,
)
from megadocs.seeding import derive_seed, document_key, mix
from megadocs.store.artifact import Artifact
from megadocs.store.files import write_bytes_atomic
from megadocs.text.tokenizer import load_tokenizer

_NUM_SAMPLES = 6
#: What the page shows of a task's accounting as it stands.
_ACCOUNTED = ("requested", "ok", "rejected", "failed", "skipped", "pending", "prompt_tokens", "new_tokens", "seconds")


def run(context: StageContext) -> None:
    """Make the report artifact; missing runs are named in it, never filled in."""
    config = context.config
    corpus = read_corpus(context.inputs["corpus"].path)
    runs = {
        str(index): FinishedRun(
            entry["arm"], entry["seed"], context.inputs[f"train {index}"], context.inputs[f"evaluate {index}"]
        )
        for index, entry in enumerate(config["runs"])
        if entry["is_there"]
    }
    if not runs:
        raise AnalysisError("no run has finished", remedy="see the errors above, fix them and run again")
    results = _results(context, runs, corpus)
    generations = [context.inputs[role] for role in sorted(context.inputs) if role.startswith("generate ")]
    audit = _audit(corpus, generations)
    write_audit(audit, context.build.path / "audit.json")
    accounts = [_generation_account(artifact) for artifact in generations]
    streams = [account for run in _one_seed(runs.values()) for account in run.streams()]
    results |= {
        "audit": audit if generations else None,
        "generations": json_form(accounts),
        "streams": json_form(streams),
        "searches": read_searches(context.workspace.root),
        "recipes": config.get("recipes", [config["recipe"]["name"]]),
    }
    results["warnings"] += search_warnings(results)
    results["answer"] += tuning_sentences(results)
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    results["floor"] = json_form(ngram_floor(results, runs, context.inputs, corpus, tokenizer, context.workspace))
    results["answer"] += floor_sentences(results)
    results["near_duplicates"] = _near_duplicates(corpus, audit)
    results["answer"] += near_duplicate_sentences(results)
    results["answer"] += truncation_sentences(results["generations"])
    gates = gate_rows(runs, context.inputs, generations)
    if gates:
        results["gate"] = gates
        results["answer"][1:1] = gate_sentences(gates, results)
    results["answer"][:0] = [*_scripted_engines(generations), *headline_floor(results)]
    write_bytes_atomic(context.build.path / "results.json", dump_results(results))
    inputs = ReportInputs(
        results=results,
        description=config["recipe"]["description"],
        curves=[run.curve() for run in runs.values()],
        samples=_samples(corpus, generations),
        corpus=_corpus_counts(context.inputs["corpus"]),
        streams=streams,
        generations=accounts,
        windows=read_stream_windows(
            {run.arm: run.train for run in _one_seed(runs.values())},
            context.workspace,
            corpus,
            tokenizer,
        ),
        steps=[_step_record(role, artifact) for role, artifact in sorted(context.inputs.items())],
        recipe_yaml=yaml.safe_dump(config["recipe"], sort_keys=False, allow_unicode=True),
        environment=_environment(next(iter(runs.values())).train),
    )
    write_bytes_atomic(context.build.path / "report.html", build_report(inputs).encode("utf-8"))


def _results(context: StageContext, runs: Mapping[str, FinishedRun], corpus: SplitCorpus) -> dict[str, Any]:
    """The analysis of losses, ensembles and benchmarks, and what is missing for which reason."""
    config = context.config
    analysis = AnalysisConfig.model_validate(config["analysis"])
    scores = [table for run in runs.values() for table in run.scores()]
    scores += [table for owner, run in runs.items() for table in extra_scores(run.arm, run.seed, owner, context.inputs)]
    results = analyze_experiment(
        scores,
        [run.facts() for run in runs.values()],
        analysis,
        name=config["recipe"]["name"],
        expected=[(entry["arm"], entry["seed"]) for entry in config["runs"]],
        groups=source_groups([*corpus.validation, *corpus.test]),
    )
    results["left_out"] = dict(config["left_out"])
    results["missing_reasons"] = {
        f"{entry['arm']} seed {entry['seed']}": entry["why_missing"]
        for entry in config["runs"]
        if not entry["is_there"]
    }
    ensembles = config.get("ensembles", [])
    headline = (results["headline"]["set"], results["headline"]["mode"])
    results |= ensemble_results(ensemble_losses(ensembles, context.inputs), headline, analysis.confidence)
    floors = next(iter(runs.values())).evaluate.summary.get("world_floor", {})
    if floors:
        results["world"] = world_tables(results, floors)
    results["positions"] = _positions(context, runs, analysis.baseline)
    benchmarks = [
        score for owner, run in runs.items() for score in benchmark_scores(run.arm, run.seed, owner, context.inputs)
    ]
    for entry in ensembles:
        benchmarks += benchmark_scores(entry["name"], None, entry["name"], context.inputs)
    results["benchmarks"] = benchmark_results(benchmarks, [row["arm"] for row in results["arms"]])
    return results


def _positions(context: StageContext, runs: Mapping[str, FinishedRun], baseline: str) -> list[dict[str, Any]]:
    """Loss by position of every run and ensemble on the recipe's additional sets."""
    found = [row for owner, run in runs.items() for row in extra_positions(run.arm, run.seed, owner, context.inputs)]
    order = list(dict.fromkeys(entry["arm"] for entry in context.config["runs"]))
    found.sort(key=lambda row: order.index(row.arm))
    for entry in context.config.get("ensembles", []):
        found += extra_positions(entry["name"], None, entry["name"], context.inputs)
    return position_tables(found, baseline)


def _one_seed(runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    """The first finished run of each arm."""
    first: dict[str, FinishedRun] = {}
    for finished in runs:
        first.setdefault(finished.arm, finished)
    return list(first.values())


def _samples(corpus: SplitCorpus, generations: list[Artifact]) -> list[Sample]:
    """A few 1x documents, drawn by hash, with everything that was generated of them."""
    import pyarrow.parquet as pq

    if not generations:
        return []
    by_document: dict[str, list[Generated]] = {}
    for artifact in generations:
        for row in pq.read_table(artifact.path / "generations.parquet").to_pylist():
            if row["status"] == "ok":
                by_document.setdefault(row["document_id"], []).append(_generated(row))
    seed = derive_seed(0, "report_samples")
    drawn = sorted(corpus.train_multiple(1), key=lambda document: mix(seed ^ document_key(document.id)))
    return [Sample(_shown_name(d), d.text, by_document.get(d.id, [])) for d in drawn[:_NUM_SAMPLES]]


def _shown_name(document: Document) -> str:
    """A text file's document by the file's name, and its piece; any other by its id."""
    name, piece = str(document.meta.get("source", "")), document.meta.get("piece")
    if not name.lower().endswith(".txt"):
        return document.id
    return name if piece is None else f"{name}, piece {int(piece) + 1}"


def _scripted_engines(generations: Sequence[Artifact]) -> list[str]:
    """The answer's first sentence where no language model wrote the synthetic text."""
    engines = [artifact.record["config"].get("generate", {}).get("engine", {}) for artifact in generations]
    scripted = {spec.name for spec in engine_specs() if spec.works_by == "rule"}
    names = sorted({str(engine.get("kind")) for engine in engines} & scripted)
    if not names:
        return []
    return [
        f"The synthetic text was written by {' and '.join(names)}, a scripted engine and no language model: nothing "
        "here says what a model's text would be worth."
    ]


def _generated(row: Mapping[str, Any]) -> Generated:
    return Generated(
        kind=row["kind"],
        generation=row["generation"],
        text=row["text"],
        split_character=row["split_character"],
        flags=list(row["flags"] or ()),
        num_tokens=row["new_tokens"],
    )


def _corpus_counts(corpus: Artifact) -> dict[str, Any]:
    """The corpus step's counts for the page, and its warning where there is one."""
    summary = corpus.summary
    report = summary["report"]
    counts = {
        "source": corpus.record["config"]["corpus"]["source"],
        "records read": report["num_records"],
        "documents found": report["num_documents"],
        "rejected": sum(report["rejected"].values()),
        "duplicates dropped": sum(report["duplicates"].values()),
        "training documents (1x)": summary["num_train_1x"],
        "largest multiple": f"{summary['max_multiple']}x",
        "validation documents": report["num_validation"],
        "test documents": report["num_test"],
        "documents not used": report["not_used"],
    }
    if losses := list(loss_lines(report)):
        counts["left out"] = "; ".join(losses)
    if report.get("num_probe"):
        counts["probe documents (written about, never trained on)"] = report["num_probe"]
    if report.get("warning"):
        counts["warning"] = report["warning"]
    return counts


def _audit(corpus: SplitCorpus, generations: list[Artifact]) -> dict[str, Any]:
    """The audit of the largest set of generations of each task."""
    largest: dict[str, Artifact] = {}
    for artifact in sorted(generations, key=lambda artifact: artifact.record["config"]["num_generations"]):
        largest[artifact.record["config"]["task"]] = artifact
    files = {task: artifact.path / "generations.parquet" for task, artifact in largest.items()}
    return audit_generations(files, corpus.train, corpus.held_out)


def _near_duplicates(corpus: SplitCorpus, audit: Mapping[str, Any]) -> dict[str, Any]:
    """Pairs on two sides of the split, and those that count as one source, under the documents' shown names."""
    split = [*corpus.train, *corpus.validation, *corpus.test, *corpus.probe]
    names = {document.id: _shown_name(document) for document in split}
    across = [{"documents": [row["held_out"], row["train"]], "share": row["share"]} for row in audit["near_duplicates"]]
    together = corpus.report.get("near_duplicates", [])
    return {
        place: [{**pair, "documents": [names.get(name, name) for name in pair["documents"]]} for pair in pairs]
        for place, pairs in (("across", across), ("together", together))
    }


def _generation_account(artifact: Artifact) -> GenerationAccount:
    accounting = artifact.summary["accounting"]
    config = artifact.record["config"]
    return GenerationAccount(
        task=f"{config['task']} G={config['num_generations']}",
        truncated=num_kept_cut(accounting, config["gates"]),
        record=record_path(artifact),
        **{name: accounting[name] for name in _ACCOUNTED},
    )


def _step_record(role: str, artifact: Artifact) -> StepRecord:
    return StepRecord(artifact.step, role, artifact.fingerprint, record_path(artifact), artifact.record["seconds"])


def _environment(artifact: Artifact) -> dict[str, str]:
    environment = artifact.record["environment"]
    return {"python": environment["python"], "machine": environment["machine"], **environment["packages"]}
