"""Train the student's tokenizer on the 1x training documents, or load one; publish it as a Hugging Face folder."""

from __future__ import annotations

from megadocs.corpus import read_corpus
from megadocs.pipeline.stages.stage import StageContext
from megadocs.recipe.data import LoadedTokenizer, TrainedTokenizer
from megadocs.text.tokenizer import load_tokenizer, train_tokenizer


def run(context: StageContext) -> None:
    """Make the tokenizer artifact: tokenizer.json and tokenizer_config.json."""
    config = context.config["tokenizer"]
    if config["kind"] == "train":
        documents = read_corpus(context.inputs["corpus"].path).train_multiple(1)
        wanted = TrainedTokenizer.model_validate(config)
        tokenizer = train_tokenizer([document.text for document in documents], wanted.vocab_size)
    else:
        source = LoadedTokenizer.model_validate(config)
        tokenizer = load_tokenizer(source.source, source.revision)
    tokenizer.save(context.build.path)
    context.build.summary.update(
        vocab_size=tokenizer.vocab_size,
        separators_per_row=tokenizer.separators_per_row,
        tokenizer_fingerprint=tokenizer.fingerprint,
    )
