"""What is asked of the generator: one `GenerationRequest` per generation, with an identity made of its content.

The identity is a hash of everything that decides what the text could be: document id and text, prompt style, model
and revision, sampling, split point, index. Position in the corpus never enters: re-ordering or extending the corpus,
raising G of rephrases or adding a style keeps every identity that already exists.

A request holds references and renders its messages on demand: millions of them stay small.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megadocs.documents import Document
from megadocs.generate.chat_safety import SAFETY_VERSION
from megadocs.generate.judgement import Judge
from megadocs.generate.styles import Message, Style
from megadocs.kinds import SAMPLE, codes_of, task_kind
from megadocs.recipe import canonical_json
from megadocs.seeding import derive_seed

#: Raised when identities are made another way: every generation would be made anew.
IDENTITY_VERSION = 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; `extra` holds the engine's own sampling options (`top_k`, `min_p`)."""

    temperature: float
    top_p: float
    max_new_tokens: int
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What all requests of one task and style share; `digest` is their part of the identity.

    `judge` is not part of it: policies for doubtful replies decide what is kept, not what is asked.
    """

    kind: str
    style: Style
    language: str
    sampling: Sampling
    model: Mapping[str, Any]
    api: str
    seed: int
    judge: Judge
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        content = {
            "identity": IDENTITY_VERSION,
            "safety": SAFETY_VERSION,
            "kind": self.kind,
            "style": self.style.name,
            "prompt": self.style.digest,
            "language": self.language,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_new_tokens": self.sampling.max_new_tokens,
            "extra": dict(self.sampling.extra),
            "model": dict(self.model),
            "api": self.api,
            "seed": self.seed,
        }
        if codes := codes_of(task=self.kind):  # what a user's own kind shows of a document is code, too
            content["code"] = codes
        digest = hashlib.sha256(canonical_json(content).encode("utf-8")).hexdigest()
        object.__setattr__(self, "digest", digest)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation to be made."""

    identity: str  # 32 hex digits of content hash
    template: RequestTemplate
    document: Document  # the source document (a reference)
    #: index among the document's generations, 0..num_generations-1; for thoughts that of the split point.
    generation: int
    num_generations: int
    split_character: int | None  # where the prompt cuts the document, in characters of the whole text; None: nowhere
    #: `start`, `end`: character span of the text that the prompt shows; the whole document unless it was too long.
    start: int
    end: int
    #: `part`, `num_parts`: position among the parts of a document split for its length.
    part: int = 0
    num_parts: int = 1
    skip: str | None = None  # why it is never sent (`too_long`), or None
    truncated_source: bool = False  # True when the policy cut the document to fit

    @property
    def document_id(self) -> str:
        """Id of the source document; a sample has none and is its own."""
        return self.document.id

    @property
    def source_document_id(self) -> str | None:
        """Id of the source document as records hold it; None for unconditional samples."""
        return None if self.kind == SAMPLE else self.document.id

    @property
    def kind(self) -> str:
        """Name of the task."""
        return self.template.kind

    @property
    def max_new_tokens(self) -> int:
        """Length limit in generator tokens."""
        return self.template.sampling.max_new_tokens

    @property
    def source(self) -> str:
        """The text that the prompt shows."""
        return self.document.text[self.start : self.end]

    def messages(self) -> list[Message]:
        """The chat messages, document text fenced and neutralised; none for a sample."""
        if self.kind == SAMPLE:
            return []
        cut = None if self.split_character is None else self.split_character - self.start
        texts = task_kind(self.kind).show(self.source, cut)
        return self.template.style.render(texts, language=self.template.language)

    def seed(self, attempt: int) -> int:
        """Sampling seed of one attempt (0 is the first): 31 bits, from the identity alone."""
        return _attempt_seed(self.template.seed, self.identity, attempt)


@functools.lru_cache(maxsize=1024)
def _attempt_seed(root: int, identity: str, attempt: int) -> int:
    """Wanted twice: for the request and, when its reply has come, for the record."""
    return derive_seed(root, identity, attempt) & 0x7FFFFFFF


def build_request(
    template: RequestTemplate,
    document: Document,
    text_digest: str,
    *,
    generation: int,
    num_generations: int,
    split_character: int | None = None,
    span: tuple[int, int] | None = None,
    part: int = 0,
    num_parts: int = 1,
    skip: str | None = None,
    truncated_source: bool = False,
) -> GenerationRequest:
    """A request with its identity.

    Args:
        text_digest: hex SHA-256 of the document's text (computed once per document by the caller).
        span: the part of the text that is shown; None for all of it. It enters the identity only when given.
    """
    place = "" if template.kind == SAMPLE else task_kind(template.kind).place(split_character, num_generations)
    shown = "" if span is None else f"{span[0]}-{span[1]}"
    content = f"{template.digest} {text_digest} {generation} {place} {shown} {document.id}"  # the free text last
    identity = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    start, end = span if span is not None else (0, len(document.text))
    return GenerationRequest(
        identity=identity,
        template=template,
        document=document,
        generation=generation,
        num_generations=num_generations,
        split_character=split_character,
        start=start,
        end=end,
        part=part,
        num_parts=num_parts,
        skip=skip,
        truncated_source=truncated_source,
    )
