"""What generation will cost: requests, tokens of their prompts, how many of these the engine has in its cache, time.

    prompts = count_prompts(config, "thought", documents, document_tokens)
    prompts.tokens, prompts.cached_tokens                     # of one document, on average

Prompts are counted as they will be sent, for some documents that stand for all. A document's generations are sent one
after the other, so that what a prompt has in common with the one before it is read from the cache: all of it for
rephrases of one style, for thoughts only the text up to the split point before. So a thought costs the engine far more
reading than a rephrase of the same document, and its time is priced from what is read and what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.documents import Document
from megadocs.generate import load_index
from megadocs.generate.plan import asked_task, plan_requests, split_tokenizer
from megadocs.generate.sender import total_cost
from megadocs.kinds import SAMPLE, engine_spec, task_kind
from megadocs.kinds.engine import resolve
from megadocs.pipeline.price.corpus_sizes import CorpusSizes
from megadocs.pipeline.steps.gate import num_probes
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import GenerateConfig, Recipe
from megadocs.store.artifact import Workspace
from megadocs.text.token_estimate import estimate_tokens

#: Documents whose prompts are counted.
_NUM_COUNTED = 40
#: Tokens that a chat template puts around a message.
_MESSAGE_TOKENS = 6
#: Tokens of a prompt beside the document, where there is no document to count.
_PROMPT_TOKENS = 60
#: Share of the length limit that replies use (measured on the quickstart: 0.85 of 160 and 96 tokens).
_REPLY_FRACTION = 0.85


#: A corpus with more documents and an empty ledger is counted without cutting each document (164,000 take minutes).
_MAX_LISTED_DOCUMENTS = 20_000


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Of the requests of one document, on average: all tokens of their prompts, and those that are in the cache."""

    tokens: float
    cached_tokens: float


def count_prompts(
    config: GenerateConfig, task: str, documents: Sequence[Document] | None, document_tokens: float
) -> PromptTokens:
    """The prompts of one document.

    Args:
        config: with the number of generations of the task.
        documents: the training documents; None: they are not here.
        document_tokens: of one, for that case.
    """
    if not documents:
        return _assumed(config, task, document_tokens)
    step = max(1, len(documents) // _NUM_COUNTED)
    chosen = list(documents)[::step][:_NUM_COUNTED]
    count = _token_counter(config)
    tokens = cached = 0.0
    before = ("", "")
    for request in plan_requests(config, task, chosen):
        if request.skip is not None:
            continue
        messages = request.messages()
        text = "\n".join(message["content"] for message in messages)
        num_tokens = count(text, len(messages))
        common = _num_common(before[1], text) if before[0] == request.document_id else 0
        tokens += num_tokens
        cached += num_tokens * common / max(1, len(text))
        before = (request.document_id, text)
    return PromptTokens(tokens / len(chosen), cached / len(chosen))


def _num_common(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def reply_tokens(recipe: Recipe, task: str) -> float:
    """Expected new tokens of one generation."""
    if task == SAMPLE:
        limit = recipe.generate.sample.max_new_tokens if recipe.generate.sample is not None else None
        return (limit or recipe.train.context_length) * _REPLY_FRACTION
    return recipe.plan.mean_tokens(task) or asked_task(recipe.generate, task).max_new_tokens * _REPLY_FRACTION


def generation_seconds(
    recipe: Recipe, config: GenerateConfig, num_read: float, num_new: float, measured: float | None
) -> float:
    """Time of a task's requests.

    Args:
        num_read: prompt tokens that are not in the cache.
        num_new: tokens that are written.
        measured: new tokens per second of this task, by finished steps.
    """
    if not num_new:
        return 0.0
    if measured is not None:
        return num_new / measured
    num_tokens = num_new + num_read / engine_spec(config.engine.kind).reading_speed
    one = recipe.plan.new_tokens_per_second or engine_spec(config.engine.kind).new_tokens_per_second
    return num_tokens / (one * config.engine.num_servers)


def _assumed(config: GenerateConfig, task: str, document_tokens: float) -> PromptTokens:
    """Of documents that are not here: one text in each prompt; split points stand at equal distances."""
    kind, number = task_kind(task), asked_task(config, task).num_generations
    each = _PROMPT_TOKENS + kind.shown_fraction * document_tokens
    if kind.nests:
        return PromptTokens(number * each, (number - 1) * each)
    shared = sum(split / (number + 1) * document_tokens for split in range(1, number))
    return PromptTokens(number * each, shared)


def _token_counter(config: GenerateConfig) -> Callable[[str, int], float]:
    """A function (prompt, number of messages) -> tokens, by the generator's tokenizer where it is here."""
    own_count = engine_spec(config.engine.kind).prompt_tokens
    if own_count is not None:
        count = resolve(own_count)
        return lambda text, num_messages: count(text)
    tokenizer = split_tokenizer(config, required=False)
    if tokenizer is None:
        return lambda text, num_messages: estimate_tokens(text) + num_messages * _MESSAGE_TOKENS
    return lambda text, num_messages: len(tokenizer.offsets(text)) + num_messages * _MESSAGE_TOKENS


class GenerationPricer:
    """Prices generate steps one by one; steps of one task whose generations nest share what a line above writes.

    Args:
        recipe: for the rates and lengths that it names.
        workspace: whose ledgers say what is there.
        sizes: of the corpus.
        rates: task -> new tokens per second by finished steps.
    """

    def __init__(self, recipe: Recipe, workspace: Workspace, sizes: CorpusSizes, rates: Mapping[str, float]) -> None:
        self._recipe = recipe
        self._workspace = workspace
        self._sizes = sizes
        self._rates = rates
        self._planned: dict[str, int] = {}

    def price(self, step: Step) -> dict[str, Any]:
        """Counts, tokens, cost and seconds of a generate step that is to do, as fields of a `PlanLine`."""
        task, num_generations = step.config["task"], step.config["num_generations"]
        config = GenerateConfig.model_validate(step.config["generate"]).with_num_generations(task, num_generations)
        is_probe = step.config.get("documents") == "probe"
        pending = self._pending(config, task, is_probe=is_probe)
        if task_kind(task).nests and not is_probe:  # what a line above writes is there for this one
            above = self._planned.get(task, 0)
            pending, self._planned[task] = max(0, pending - above), max(pending, above)
        num_tokens = round(pending * reply_tokens(self._recipe, task))
        facts = self._sizes.facts
        prompts = count_prompts(
            config,
            task,
            self._asked_about(is_probe=is_probe),
            self._sizes.train_tokens(1) / max(1, facts.num_train_1x),
        )
        prompt_tokens = round(pending * prompts.tokens / num_generations)
        cached_tokens = round(pending * prompts.cached_tokens / num_generations)
        num_read = prompt_tokens - cached_tokens
        seconds = generation_seconds(self._recipe, config, num_read, num_tokens, self._rates.get(task))
        cost = total_cost(config.limits, prompt_tokens, num_tokens, seconds / 3600 * config.engine.num_servers)
        tokens = {"num_requests": pending, "num_prompt_tokens": prompt_tokens, "num_cached_tokens": cached_tokens}
        return {**tokens, "num_tokens": num_tokens, "cost": cost or None, "seconds": seconds, "is_estimate": True}

    def _asked_about(self, *, is_probe: bool) -> Sequence[Document] | None:
        """The documents that a generate step is about; None where the corpus is not there."""
        documents = self._sizes.documents
        return None if documents is None else documents.probe if is_probe else documents.train_multiple(1)

    def _pending(self, config: GenerateConfig, task: str, *, is_probe: bool) -> int:
        """Requests that the ledger does not answer; one by one where it answers any."""
        index, documents = load_index(self._workspace.root / "ledger" / task), self._asked_about(is_probe=is_probe)
        if documents is None or (not len(index) and len(documents) > _MAX_LISTED_DOCUMENTS):
            num_documents = num_probes(self._recipe) if is_probe else self._sizes.facts.num_train_1x
            return num_documents * asked_task(config, task).num_generations
        requests = [request for request in plan_requests(config, task, documents) if not request.skip]
        return int((index.find([request.identity for request in requests]) < 0).sum())
