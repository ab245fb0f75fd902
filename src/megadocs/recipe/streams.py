"""Recipe sections `stream` and `mixture`: which tokens follow which."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator

from megadocs.errors import RecipeError
from megadocs.recipe.base import MAX_DECIMALS, MAX_SEED, Section

#: Batches in a mixture block where the recipe names none (the authors: 2048 windows of batches of 64).
DEFAULT_BLOCK_BATCHES = 32
#: Name of the stream of real documents, in window ids, `max_windows` and seeds.
REAL_STREAM = "real"


class ExtraStream(Section):
    """An additional synthetic stream of an arm, with its share of the synthetic part."""

    ordering: str = Field(description="As `stream.ordering`.")
    weight: Decimal = Field(
        gt=0,
        le=10**6,
        decimal_places=MAX_DECIMALS,
        description="Weight relative to the other synthetic streams (the main one has 1).",
    )
    num_generations: int | None = Field(None, ge=1, le=1024, description="As `stream.num_generations`.")
    num_thoughts: int | None = Field(None, ge=1, le=1024, description="As `stream.num_thoughts`.")
    real_document: Literal["last", "first", "none", "random"] = Field("last", description="As `stream.real_document`.")


class StreamConfig(Section):
    """One arm's synthetic stream: an ordering of rows, and how windows are cut from it."""

    ordering: str | None = Field(
        None,
        description="An ordering of docs/streams.md (simple, stitched, latent_thoughts, ...), or module:attribute "
        "(needs --allow-code). None: real documents only.",
    )
    num_generations: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Use the first this many rephrases, or the stretched rows of this G; none: as generated.",
    )
    num_thoughts: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="merged: G of the stretched rows; none: num_generations if there are several G.",
    )
    real_document: Literal["last", "first", "none", "random"] = Field(
        "last", description="Where a megadoc's real document stands; none: the synthetic stream holds no real document."
    )
    real_order: Literal["shuffled", "similarity"] = Field(
        "shuffled", description="Order of the real stream; similarity is in-context pretraining (arXiv:2310.10638)."
    )
    reorder_rows: Literal["never", "each_epoch"] = Field("never", description="Draw the row order afresh each epoch.")
    reshuffle_windows: Literal["never", "each_epoch"] = Field(
        "never", description="Draw the window order afresh each epoch."
    )
    attention_boundary: Literal["none", "row", "document"] = Field(
        "none", description="none: cross-document attention (the paper); row, document: attention stops there."
    )
    extra: list[ExtraStream] = Field(default_factory=list, description="Additional synthetic streams.")
    datasets: list[str] = Field(
        default_factory=list,
        description="Published datasets whose rows this arm may use; empty: all. Needed where two hold the same kind "
        "and number of generations.",
    )
    missing: Literal["allow", "refuse"] = Field("allow", description="allow: a megadoc is built from what it has.")
    max_missing_fraction: float = Field(0.02, ge=0, le=1, description="More missing than this is an error.")
    think_open: str = Field(
        "<think>", description="Text before an inserted thought; ordinary text, never a control token."
    )
    think_close: str = Field("</think>", description="Text after an inserted thought.")


class MixtureConfig(Section):
    """How windows of the real and the synthetic stream alternate."""

    synthetic_fraction: Decimal = Field(
        Decimal(0),
        ge=0,
        le=1,
        decimal_places=MAX_DECIMALS,
        description="Share of windows from the synthetic stream, an exact decimal; 0 is real only.",
    )
    real_multiple: int = Field(1, ge=1, le=10**6, description="Real documents: this many times the 1x set.")
    separate_real_stream: bool = Field(True, description="False: train on the synthetic stream alone (fraction 1).")
    block_windows: int | None = Field(None, ge=1, le=10**9, description="Windows per mixture block; none: 32 batches.")
    rounding: Literal["exact", "levanter"] = Field(
        "exact", description="levanter truncates within each block, as the authors' runs."
    )
    max_windows: dict[str, Annotated[int, Field(ge=0, le=10**12)]] = Field(
        default_factory=dict, description="Cap per stream on the permuted window list (real: 49728 is the paper's)."
    )
    data_seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Seed of row, window and block orders; none: from the run's seed."
    )

    @field_validator("synthetic_fraction", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        return (
            Decimal(repr(value)) if isinstance(value, float) else value
        )  # 0.9 means nine tenths, not its binary neighbour

    @property
    def has_real_stream(self) -> bool:
        """Whether the arm has a stream of real documents of its own."""
        return self.separate_real_stream and self.synthetic_fraction < 1

    @property
    def has_synthetic_stream(self) -> bool:
        """Whether it takes anything from synthetic streams."""
        return self.synthetic_fraction > 0 or not self.separate_real_stream


def synthetic_parts(stream: StreamConfig, mixture: MixtureConfig) -> list[ExtraStream]:
    """An arm's synthetic streams, the main one (weight 1) first; none where the mixture takes nothing from them.

    Raises:
        RecipeError: it takes something, and no ordering is named.
    """
    if not mixture.has_synthetic_stream:
        return []
    if stream.ordering is None:
        raise RecipeError(
            "the mixture takes windows of a synthetic stream, and no ordering is named",
            where="stream.ordering",
            remedy="name an ordering, or set mixture.synthetic_fraction=0",
        )
    main = ExtraStream(
        ordering=stream.ordering,
        weight=Decimal(1),
        num_generations=stream.num_generations,
        num_thoughts=stream.num_thoughts,
        real_document=stream.real_document,
    )
    return [main, *stream.extra]


def stream_names(stream: StreamConfig, mixture: MixtureConfig) -> list[str]:
    """Names of an arm's streams, the real one first; a second one of an ordering is `<ordering>-2`, and so on.

    Raises:
        RecipeError: no ordering is named, or `mixture.max_windows` caps a stream that is not there.
    """
    names = [REAL_STREAM] if mixture.has_real_stream else []
    for part in synthetic_parts(stream, mixture):
        name, number = part.ordering, 2
        while name in names:
            name, number = f"{part.ordering}-{number}", number + 1
        names.append(name)
    for name in mixture.max_windows:
        if name not in names:
            raise RecipeError(
                f"there is no stream {name!r}",
                where=f"mixture.max_windows.{name}",
                remedy=f"this arm's streams: {', '.join(names)}",
            )
    return names


def block_windows(mixture: MixtureConfig, batch_size: int) -> int:
    """Windows of a mixture block that the recipe asks for.

    Raises:
        RecipeError: they are no multiple of the batch.
    """
    asked = mixture.block_windows or DEFAULT_BLOCK_BATCHES * batch_size
    if asked % batch_size:
        raise RecipeError(
            f"a block of {asked} windows is no multiple of the batch of {batch_size}",
            where="mixture.block_windows",
            remedy=f"use {asked // batch_size * batch_size or batch_size}",
        )
    return asked
