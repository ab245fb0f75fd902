"""Recipe section `published`: rows that others generated, in place of a generator."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from megadocs.recipe.base import MAX_DECIMALS, MAX_SEED, Section

Form = Literal["real", "stitched", "rephrase", "latent_thoughts", "self_distilled"]


class PublishedDataset(Section):
    """A ready-made dataset of rows: on the hub or in local Parquet files."""

    source: str = Field(description="A Parquet file, folder or glob, or `hf://org/name[@revision][:split]`.")
    form: Form = Field(
        description="What the records are. stitched: megadocs (a simple stream is the same rows shuffled); rephrase: "
        "one rephrase a record, in any order."
    )
    text_field: str = Field("text", description="Column of the text.")
    id_field: str | None = Field(
        None, description="Column of the source document's id; none: SHA-256 of the real text within the record."
    )
    generation_field: str | None = Field(
        None, description="rephrase: column of the generation (0, 1, ...); none: counted in the order of records."
    )
    real_document: Literal["last", "first", "none"] = Field(
        "last", description="stitched: which row of a megadoc is the real document."
    )
    rows_per_document: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="stitched: this many consecutive records are one megadoc; none: a record is a whole megadoc, its "
        "rows divided by separators.",
    )
    num_generations: int | None = Field(
        None, ge=1, le=1024, description="The G of its rephrases or thoughts; real, self_distilled: leave it out."
    )

    @property
    def holds_real_documents(self) -> bool:
        """Whether the real documents can be read from it."""
        return self.form == "real" or (self.form == "stitched" and self.real_document != "none")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.form in ("stitched", "rephrase", "latent_thoughts") and self.num_generations is None:
            raise ValueError(f"a dataset of form {self.form} needs num_generations, its G")
        if self.form == "rephrase" and self.id_field is None:
            raise ValueError("a dataset of form rephrase needs id_field: its records do not hold the real text")
        if self.form == "stitched" and self.real_document == "none" and self.id_field is None:
            raise ValueError("megadocs without the real document need id_field, to know whose they are")
        return self


class PublishedConfig(Section):
    """Rows from published datasets: arms without generating a token."""

    datasets: dict[str, PublishedDataset] = Field(
        min_length=1, description="name -> dataset. Each arm uses the one whose kind and G its stream asks for."
    )
    real_documents: Literal["published", "corpus"] = Field(
        "published",
        description="published: the training documents are those of the datasets (form real, else the first stitched "
        "one), and `corpus` holds the held-out ones: half validation, half test. corpus: `corpus` is split as ever, "
        "and the datasets' rows belong to its documents.",
    )
    separators: list[str] = Field(
        default_factory=lambda: ["<|begin_of_text|>", "<|end_of_text|>"],
        description="Strings that divide rows within a record; the tokenizer's own separators replace them.",
    )
    think_open: str = Field(
        "<think>", min_length=1, description="Opens a thought; to recognise the real text of a stretched document."
    )
    think_close: str = Field("</think>", min_length=1, description="Closes a thought.")
    document_fraction: Decimal = Field(
        Decimal(1),
        gt=0,
        le=1,
        decimal_places=MAX_DECIMALS,
        description="Share of the real documents that is 1x, the same ones in every dataset; the others serve "
        "`mixture.real_multiple`.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seed of the order in which documents are drawn.")

    @field_validator("document_fraction", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        return Decimal(repr(value)) if isinstance(value, float) else value

    @model_validator(mode="after")
    def _has_real_documents(self) -> Self:
        if self.real_documents == "published" and not self.real_datasets:
            raise ValueError("no dataset holds real documents: add one of form real, or set real_documents: corpus")
        return self

    @property
    def real_datasets(self) -> dict[str, PublishedDataset]:
        """The datasets that the real documents are read from."""
        real = {name: dataset for name, dataset in self.datasets.items() if dataset.form == "real"}
        others = {name: dataset for name, dataset in self.datasets.items() if dataset.holds_real_documents}
        return real or dict(list(others.items())[:1])
