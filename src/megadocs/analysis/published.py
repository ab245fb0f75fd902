"""Our arithmetic against the published numbers: `megadocs analyze --published`.

The published values live in `published.json` with their sources and how they are known. Each check recomputes a
published number with the code that analyses the user's own runs. Numbers whose inputs were inferred from the result are
marked "consistent by construction"; numbers without published inputs are "not available"; and where the published prose
and the published values differ, the check says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any, Literal

from megadocs.analysis.law_intervals import multiple_by_law
from megadocs.analysis.power_law import fit_power_law
from megadocs.streams.shares import exact_steps

Status = Literal["agrees", "differs", "consistent by construction", "not available"]


@dataclass(frozen=True, slots=True)
class PublishedCheck:
    """One published number beside ours."""

    name: str
    published: str  # the published value, as text
    computed: str | None  # what our code gives from the published inputs; `None` where there are none
    status: Status
    source: str
    note: str = ""  # what one has to know to read the row


@cache
def load_published() -> dict[str, Any]:
    """The published values, as in `published.json`."""
    text = resources.files("megadocs.analysis").joinpath("published.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def check_published() -> list[PublishedCheck]:
    """Every check, in reading order."""
    values = load_published()
    return [*_multipliers(values), *_asymptotes(values), *_tokens(values), *_train_tokens(values)]


def _multipliers(values: dict[str, Any]) -> list[PublishedCheck]:
    law, source = values["data_law"], values["sources"]["megadocs"]
    base = values["headline"][0]["loss"]
    checks = []
    for row in values["headline"][1:]:
        low, high = _multiplier_range(row["loss"], base, law)
        if row["mark"] == "I":
            status: Status = "consistent by construction"
            note = "the loss was inferred from this multiplier"
        else:
            status = "agrees" if low >= 1.475 and high <= 1.505 else "differs"
            corners = [multiple_by_law(row["loss"], base, c, b) for b in law["exponent"] for c in law["asymptote"]]
            note = (
                "B and C of one fit rise together, so their ranges are walked together; corners that belong to no "
                f"fit would give {min(corners):.2f}x to {max(corners):.2f}x"
            )
        name = f"data efficiency of {row['method']}, loss {row['loss']}"
        checks.append(
            PublishedCheck(name, f"{row['data_efficiency']:.2f}x", f"{low:.2f}x to {high:.2f}x", status, source, note)
        )
    return checks


def _multiplier_range(loss: float, base: float, law: dict[str, Any]) -> tuple[float, float]:
    (low_b, high_b), (low_c, high_c) = law["exponent"], law["asymptote"]
    shares = [step / 20 for step in range(21)]
    found = [
        multiple_by_law(loss, base, low_c + share * (high_c - low_c), low_b + share * (high_b - low_b))
        for share in shares
    ]
    return min(found), max(found)


def _asymptotes(values: dict[str, Any]) -> list[PublishedCheck]:
    ensembles, source = values["ensembles"], values["sources"]["megadocs"]
    checks, fitted = [], {}
    for method, (low, high) in ensembles["asymptotes"].items():
        published = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        name = f"asymptote of {method} over ensemble members"
        losses = ensembles["series"].get(method)
        if losses is None:
            checks.append(
                PublishedCheck(name, published, None, "not available", source, "no losses by members are known")
            )
            continue
        fitted[method] = fit_power_law(ensembles["x"], losses).law.asymptote
        agrees = low - 0.01 <= fitted[method] <= high + 0.01
        checks.append(
            PublishedCheck(name, published, f"{fitted[method]:.3f}", "agrees" if agrees else "differs", source)
        )
    gain, stated = fitted["real_only"] - fitted["simple"], ensembles["stated_asymptote_gain"]
    status: Status = "agrees" if gain >= stated else "differs"
    note = "the published prose and the published asymptotes differ" if status == "differs" else ""
    name = "asymptote of simple below real_only"
    return [*checks, PublishedCheck(name, f"at least {stated:.2f}", f"{gain:.2f}", status, source, note)]


def _tokens(values: dict[str, Any]) -> list[PublishedCheck]:
    data, source = values["data"], values["sources"]["megadocs"]
    documents, real = data["real_documents"], data["real_tokens"]
    mean = real / documents
    with_real = data["stream_tokens"]["32"] / (documents * 32)
    without = (data["stream_tokens"]["32"] - real) / (documents * 32)
    thought = (data["latent_stream_tokens"]["16"] - real) / (documents * 16)
    return [
        _close("tokens per real document", data["mean_document_tokens"], mean, source, ""),
        _close(
            "tokens per rephrase, G = 32",
            data["tokens_per_rephrase"],
            with_real,
            source,
            f"counts the real documents too; without them it is {without:.0f}",
        ),
        _close("tokens per latent thought", data["tokens_per_thought"], thought, source, "from the G = 16 stream"),
    ]


def _close(name: str, published: float, computed: float, source: str, note: str) -> PublishedCheck:
    status: Status = "agrees" if abs(computed - published) <= 1 else "differs"
    return PublishedCheck(name, f"{published:,.0f}", f"{computed:,.0f}", status, source, note)


def published_steps(training: Mapping[str, Any], real_epochs: float, synthetic_fraction: float | str) -> int:
    """Optimiser steps of a published run: its real epochs are counted in steps of the real stream alone."""
    share = 1 - Fraction(str(synthetic_fraction))
    return int(exact_steps(real_epochs, training["steps_per_real_epoch"], 1, share))


def _train_tokens(values: dict[str, Any]) -> list[PublishedCheck]:
    training = values["training"]
    checks = []
    for run in training["runs"]:
        steps = published_steps(training, run["real_epochs"], run["synthetic_fraction"])
        computed = steps * training["tokens_per_step"]
        agrees = abs(computed / run["train_tokens"] - 1) < 0.02
        name = f"training tokens, {run['name']}"
        published = f"{run['train_tokens'] / 1e9:.1f}B"
        status: Status = "agrees" if agrees else "differs"
        checks.append(PublishedCheck(name, published, f"{computed / 1e9:.1f}B", status, values["sources"]["config"]))
    return checks
