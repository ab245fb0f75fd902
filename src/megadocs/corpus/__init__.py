"""Real documents: read from files, cut into pieces, split into train, validation and test.

stream = iter_documents(config)              # Iterable[Document]; counts what it rejects
corpus = split_documents(stream, config)     # corpus.train (first n = 1x), .validation, .test, .report
write_corpus(corpus, directory); corpus = read_corpus(directory)
"""

from megadocs.corpus.artifact import read_corpus, write_corpus
from megadocs.corpus.digest import source_digest
from megadocs.corpus.losses import loss_lines
from megadocs.corpus.reading import DocumentStream, iter_documents, source_files
from megadocs.corpus.split import SplitCorpus, split_documents

__all__ = [
    "DocumentStream",
    "SplitCorpus",
    "iter_documents",
    "loss_lines",
    "read_corpus",
    "source_digest",
    "source_files",
    "split_documents",
    "write_corpus",
]
