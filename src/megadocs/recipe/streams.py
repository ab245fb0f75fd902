"""Recipe sections `stream` and `mixture`: which tokens follow which."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator

from megadocs.recipe.base import Section


class ExtraStream(Section):
    """A further synthetic stream of an arm, with its share of the synthetic part."""

    ordering: str = Field(description="As `stream.ordering`.")
    weight: Decimal = Field(gt=0, description="Weight relative to the other synthetic streams (the main one has 1).")
    num_generations: int | None = Field(None, ge=1, description="As `stream.num_generations`.")
    num_thoughts: int | None = Field(None, ge=1, description="As `stream.num_thoughts`.")
    real_document: Literal["last", "first", "none", "random"] = Field("last", description="As `stream.real_document`.")


class StreamConfig(Section):
    """One arm's synthetic stream: an ordering of rows, and how windows are cut from it."""

    ordering: str | None = Field(
        None,
        description="simple, stitched, latent_thoughts, merged, self_distilled, repeat, mis_stitched, "
        "thoughts_appended, or module:attribute (needs --allow-code). None: real documents only.",
    )
    num_generations: int | None = Field(
        None,
        ge=1,
        description="Use the first this many rephrases, or the stretched rows of this G; none: as generated.",
    )
    num_thoughts: int | None = Field(
        None, ge=1, description="merged: G of the stretched rows; none: num_generations if there are several G."
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
    extra: list[ExtraStream] = Field(default_factory=list, description="Further synthetic streams.")
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
        description="Share of windows from the synthetic stream, an exact decimal; 0 is real only.",
    )
    real_multiple: int = Field(1, ge=1, description="Real documents: this many times the 1x set.")
    separate_real_stream: bool = Field(True, description="False: train on the synthetic stream alone (fraction 1).")
    block_windows: int | None = Field(None, ge=1, description="Windows per mixture block; none: 32 batches.")
    rounding: Literal["exact", "levanter"] = Field(
        "exact", description="levanter truncates within each block, as the authors' runs."
    )
    max_windows: dict[str, int] = Field(
        default_factory=dict, description="Cap per stream on the permuted window list (real: 49728 is the paper's)."
    )
    data_seed: int | None = Field(
        None, ge=0, description="Seed of row, window and block orders; none: from the run's seed."
    )

    @field_validator("synthetic_fraction", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        return (
            Decimal(repr(value)) if isinstance(value, float) else value
        )  # 0.9 means nine tenths, not its binary neighbour


class PublishedDataset(Section):
    """A ready-made dataset of rows: on the hub or in local Parquet files."""

    source: str = Field(description="A Parquet file, folder or glob, or `hf://org/name`.")
    form: Literal["real", "stitched", "latent_thoughts", "self_distilled"] = Field(
        description="What the records are. stitched: megadocs; a simple stream is the same rows shuffled."
    )
    text_field: str = Field("text", description="Column of the text.")
    id_field: str | None = Field(
        None, description="Column of the source document's id; none: SHA-256 of the real text within the record."
    )
    real_document: Literal["last", "first", "none"] = Field(
        "last", description="stitched: which row of a megadoc is the real document."
    )
    rows_per_document: int | None = Field(
        None,
        ge=1,
        description="stitched: this many consecutive records are one megadoc; none: a record is a whole megadoc, its "
        "rows divided by separators.",
    )
    num_generations: int | None = Field(None, ge=1, description="latent_thoughts: the G of its thoughts.")


class PublishedConfig(Section):
    """Arms without generating a token: rows read from published datasets instead of a corpus and a generator."""

    datasets: list[PublishedDataset] = Field(min_length=1, description="Read one after the other.")
    separators: list[str] = Field(
        default_factory=lambda: ["<|begin_of_text|>", "<|end_of_text|>"],
        description="Strings that divide rows within a record; the tokenizer's own separators replace them.",
    )
    think_open: str = Field(
        "<think>", description="Opens a thought; to recognise the real text of a stretched document."
    )
    think_close: str = Field("</think>", description="Closes a thought.")
    document_fraction: Decimal = Field(
        Decimal(1), gt=0, le=1, description="Keep this share of the documents, the same ones in every dataset."
    )
    seed: int = Field(0, ge=0, description="Seed of the documents kept.")

    @field_validator("document_fraction", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        return Decimal(repr(value)) if isinstance(value, float) else value
