"""From documents to requests: which generations a task asks for, in the order they should be sent.

    requests = plan_requests(config, "rephrase", documents)

All generations of a document stand together, so that servers find their common prompt prefix in the cache. Documents
too long for the engine's context are found here, by its tokenizer, and split, cut or skipped as the recipe says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from megadocs.documents import Document
from megadocs.errors import InputError, RecipeError
from megadocs.generate.engines import EngineInfo, engine_info, sampling_options
from megadocs.generate.judgement import Judge
from megadocs.generate.long_documents import Span, SplitTokenizer, fitting_spans
from megadocs.generate.requests import GenerationRequest, RequestTemplate, Sampling, build_request
from megadocs.generate.samples import iter_samples
from megadocs.generate.styles import load_style
from megadocs.kinds import SAMPLE, engine_spec, task_kind
from megadocs.recipe import AskedTask, GenerateConfig
from megadocs.recipe.paths import user_path
from megadocs.seeding import text_digest
from megadocs.text.characters import cut_position
from megadocs.text.sources import check_place
from megadocs.text.token_estimate import estimate_tokens
from megadocs.text.tokenizer import Tokenizer, load_tokenizer

#: Room kept for the server's chat template, in tokens.
_TEMPLATE_TOKENS = 64


def plan_requests(
    config: GenerateConfig, task: str, documents: Iterable[Document], info: EngineInfo | None = None
) -> list[GenerationRequest]:
    """All requests of a task as a list; see `iter_requests`."""
    return list(iter_requests(config, task, documents, info))


def iter_requests(
    config: GenerateConfig, task: str, documents: Iterable[Document], info: EngineInfo | None = None
) -> Iterator[GenerationRequest]:
    """The requests of a task, document by document, made one at a time.

    Args:
        task: name of a task kind, or `sample`; the recipe must configure it.
        documents: the training documents; ids must differ.
        info: what is known of the engine; found out when None (at most the hash of the model file).

    Raises:
        RecipeError: task not configured, unknown style, G > 1 without randomness, no tokenizer for split points.
        InputError: two documents of one id.
    """
    info = info or engine_info(config.engine)
    if task == SAMPLE:
        yield from iter_samples(config, info)
        return
    kind, num_generations = task_kind(task), asked_task(config, task).num_generations
    templates = build_templates(config, task, info)
    prompt_budget = _prompt_budget(config, templates[0])
    tokenizer = split_tokenizer(config, required=kind.cut is not None)
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise InputError("two documents have one id", where=document.id, remedy="make the ids of the corpus differ")
        seen.add(document.id)
        spans = fitting_spans(document.text, prompt_budget, config.long_documents, tokenizer)
        digest = text_digest(document.text)
        if kind.cut is None:
            yield from _of_whole_document(templates, document, digest, num_generations, spans)
            continue
        assert tokenizer is not None
        cuts = kind.cut(tokenizer.offsets(document.text), document.text, num_generations)
        yield from _of_cut_document(templates, document, digest, num_generations, spans, cuts)


def build_templates(config: GenerateConfig, task: str, info: EngineInfo) -> list[RequestTemplate]:
    """One template per style in use: generation g uses template g modulo their number."""
    asked = asked_task(config, task)
    if config.temperature == 0 and asked.num_generations > 1 and task_kind(task).nests:
        raise RecipeError(
            "without randomness all generations of a document are equal",
            where="generate.temperature",
            remedy="raise the temperature, or ask for one generation",
        )
    sampling = Sampling(config.temperature, config.top_p, asked.max_new_tokens, sampling_options(config.engine))
    judge = Judge.of(config)
    return [
        RequestTemplate(
            kind=task,
            style=load_style(name, task=task, language=config.language),
            language=config.language,
            sampling=sampling,
            model=info.identity,
            api=config.engine.api,
            seed=config.seed,
            judge=judge,
        )
        for name in asked.styles
    ]


def asked_task(config: GenerateConfig, task: str) -> AskedTask:
    """What the recipe asks for of a task; `RecipeError` where that is nothing."""
    asked = config.task(task)
    if asked is None:
        raise RecipeError(f"the recipe asks for no {task}", where=f"generate.{task}", remedy=f"add generate.{task}")
    return asked


def split_tokenizer(config: GenerateConfig, *, required: bool) -> SplitTokenizer | None:
    """The generator's tokenizer: `generate.split_tokenizer`, or the one of a model on this machine.

    It is loaded when it is first used: 0.6 s of CPU for 49,152 tokens, once per process.

    Raises:
        RecipeError: it is required and not known.
        InputError: the path of `generate.split_tokenizer` leads nowhere.
    """
    if config.split_tokenizer is not None:
        check_place(config.split_tokenizer)
        return _LazyTokenizer(config.split_tokenizer)
    works_by = engine_spec(config.engine.kind).works_by
    if works_by == "model_file":
        from megadocs.generate.engines.model_files import find_model

        return _LazyTokenizer(str(find_model(config.engine.model)))
    if works_by == "program" and user_path(config.engine.model).is_dir():
        return _LazyTokenizer(config.engine.model)
    if works_by == "rule":
        return _WordTokenizer()
    if required:
        raise RecipeError(
            "split points are cut with the generator's tokenizer, which is not known",
            where="generate.split_tokenizer",
            remedy="name its tokenizer.json, GGUF file, folder or hub name",
        )
    return None


def token_counter(config: GenerateConfig) -> Callable[[str], int]:
    """A function text -> tokens of the generator: by its tokenizer where it is here, else by the text's scripts."""
    tokenizer = split_tokenizer(config, required=False)
    if tokenizer is None:
        return lambda text: round(estimate_tokens(text))
    return lambda text: len(tokenizer.offsets(text))


class _LazyTokenizer:
    """A tokenizer that is read from its file when the first text needs it; a text asked for twice is read once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._last: tuple[str, Sequence[tuple[int, int]]] | None = None

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        if self._last is None or self._last[0] is not text:  # a document is measured, then cut
            self._last = (text, _loaded_tokenizer(self._source).offsets(text))
        return self._last[1]


@functools.cache
def _loaded_tokenizer(source: str) -> Tokenizer:
    return load_tokenizer(source)


class _WordTokenizer:
    """Tokens of the fake and the world engine: words with the space before them."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [found.span() for found in re.finditer(r"\s*\S+", text)]


def _prompt_budget(config: GenerateConfig, template: RequestTemplate) -> int:
    """Tokens left for document text in one prompt."""
    style = template.style
    wording = len(((style.system or "") + style.user).encode("utf-8")) // 3
    budget = config.engine.context_tokens - template.sampling.max_new_tokens - wording - _TEMPLATE_TOKENS
    if budget < 32:
        raise RecipeError(
            f"a context of {config.engine.context_tokens} tokens leaves no room for documents",
            where="generate.engine.context_tokens",
            remedy="raise it, or lower max_new_tokens",
        )
    return budget


def _of_whole_document(
    templates: Sequence[RequestTemplate], document: Document, digest: str, num_generations: int, spans: Sequence[Span]
) -> Iterator[GenerationRequest]:
    for generation in range(num_generations):
        for part, span in enumerate(spans):
            yield build_request(
                templates[generation % len(templates)],
                document,
                digest,
                generation=generation,
                num_generations=num_generations,
                span=span.characters,
                part=part,
                num_parts=len(spans),
                skip=span.skip,
                truncated_source=span.is_truncated,
            )


def _of_cut_document(
    templates: Sequence[RequestTemplate],
    document: Document,
    digest: str,
    num_generations: int,
    spans: Sequence[Span],
    cuts: Sequence[int],
) -> Iterator[GenerationRequest]:
    """One request a cut, showing the part of the document that the cut lies in.

    A cut inside a character as a reader sees it moves before it, whatever made it; one that leaves nothing but white
    space before or behind it asks for nothing.
    """
    text = document.text
    for generation, wanted in enumerate(cuts):
        character = cut_position(text, wanted)
        if not _cuts_text(text, 0, character, len(text)):
            continue
        shown = ((span, span.characters or (0, len(text))) for span in spans)
        inside = [span for span, (start, end) in shown if _cuts_text(text, start, character, end)]
        span = inside[0] if inside else Span(None, skip="outside_context")
        yield build_request(
            templates[generation % len(templates)],
            document,
            digest,
            generation=generation,
            num_generations=num_generations,
            split_character=character,
            span=span.characters,
            skip=span.skip,
            truncated_source=span.is_truncated or len(spans) > 1,
        )


def _cuts_text(text: str, start: int, cut: int, end: int) -> bool:
    """Whether a cut of `text[start:end]` leaves something to read on both sides."""
    return start < cut < end and bool(text[start:cut].strip()) and bool(text[cut:end].strip())
