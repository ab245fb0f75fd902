"""Our models and ensembles as a language model of lm-evaluation-harness (extra `eval`).

    import lm_eval
    from megadocs.evaluate.benchmarks.language_model import MegadocsLM
    results = lm_eval.simple_evaluate(MegadocsLM("runs/a/model", "runs/b/model", average="logits"), tasks=["piqa"])

Importing this module also registers the name `megadocs`, for `lm_eval.simple_evaluate("megadocs",
model_args="pretrained=runs/a/model+runs/b/model,average=probabilities")`. Likelihood tasks only: generation raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import lm_eval.models  # noqa: F401  (the harness adds its own models only to a registry that is still empty)
import numpy as np
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.likelihoods import PairResults, TokenPair, score_pairs
from megadocs.evaluate.load_model import check_one_tokenizer, load_model
from megadocs.evaluate.scoring_model import Dtype, ScoringModel
from megadocs.evaluate.target_losses import SINGLE, Average
from megadocs.text.tokenizer import Tokenizer


class AveragedLM(LM):  # type: ignore[misc]
    """K members under A averages: every request is answered once for all averages; `average` says whose answer counts.

    Args:
        members: K models of one tokenizer.
        add_bos: whether prompts start with BOS.
        batch_tokens: tokens of one forward pass.

    Attributes:
        average: index of the average that answers.
        has_nan: whether an answer under `average` was not a number.
        num_truncated: requests of the last call that were longer than the members' context.
    """

    def __init__(
        self,
        members: Sequence[ScoringModel],
        tokenizer: Tokenizer,
        averages: Sequence[Average] = (SINGLE,),
        *,
        add_bos: bool,
        batch_tokens: int = 2048,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        super().__init__()
        self.average = 0
        self.num_truncated = 0
        self.has_nan = False
        self._members, self._tokens, self._averages = members, tokenizer, averages
        self._add_bos = add_bos and tokenizer.bos_id is not None
        self._batch_tokens, self._watch = batch_tokens, watch
        self._answers: dict[tuple[tuple[str, ...], ...], PairResults] = {}

    @property
    def prefix_id(self) -> int:
        """What stands before a text that has nothing before it: BOS, or EOS where there is none."""
        return self._tokens.eos_id if self._tokens.bos_id is None else self._tokens.bos_id

    @property
    def max_length(self) -> int:
        """Most tokens of a window."""
        return min((model.max_context for model in self._members if model.max_context is not None), default=2048)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihood of each request's continuation, and whether greedy decoding would give it."""
        key = tuple(request.args for request in requests)
        if key not in self._answers:
            self._answers = {key: self._score(self._encode(key))}
        return self._answer(self._answers[key])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text: every token once, in windows of the model's context."""
        key = tuple(request.args for request in requests)
        owners, pairs = [], []
        for owner, tokens in enumerate(self._tokens.encode_batch([text for (text,) in key])):
            for window in get_rolling_token_windows(tokens.tolist(), self.prefix_id, self.max_length, 1):
                context, continuation = make_disjoint_window(window)
                pairs.append(TokenPair(tuple(context), tuple(continuation)))
                owners.append(owner)
        if key not in self._answers:
            self._answers = {key: self._score(pairs)}
        values = [value for value, _ in self._answer(self._answers[key])]
        return [float(total) for total in np.bincount(owners, weights=values, minlength=len(key))]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Not offered."""
        raise InputError(
            "this task lets the model write; only tasks that score likelihoods can be scored here",
            where="evaluate.benchmarks",
            remedy="run lm_eval on the exported model folder: lm_eval run --model hf --model_args pretrained=FOLDER",
        )

    def _encode(self, texts: Sequence[tuple[str, ...]]) -> list[TokenPair]:
        """Context and continuation as tokens, cut where the harness cuts them.

        Both are encoded as one text, which is cut after as many tokens as the context alone has: a word that begins
        with the continuation's space is then one token, as in running text. Where a token runs across the cut the
        continuation is encoded separately: a choice that loses tokens to its context would win by it.
        """
        heads = [context.rstrip() for context, _ in texts]
        distinct = list(dict.fromkeys(heads))
        head_ids = dict(zip(distinct, (ids.tolist() for ids in self._tokens.encode_batch(distinct)), strict=True))
        wholes = self._tokens.encode_batch([context + continuation for context, continuation in texts])
        pairs = []
        for head, whole, (_, continuation) in zip(heads, wholes, texts, strict=True):
            context_ids, ids = head_ids[head], whole.tolist()
            tail = ids[len(context_ids) :]
            if not tail or ids[: len(context_ids)] != context_ids:
                tail = self._tokens.encode_batch([continuation])[0].tolist()
            if not tail:
                remedy = "give every choice a text that the tokenizer knows"
                raise InputError(f"a choice without tokens: {continuation!r}", where=head[:80], remedy=remedy)
            begin = [self.prefix_id] if self._add_bos or not context_ids else []
            pairs.append(TokenPair((*begin, *context_ids), tuple(tail)))
        return pairs

    def _score(self, pairs: Sequence[TokenPair]) -> PairResults:
        return score_pairs(
            self._members,
            self._averages,
            pairs,
            batch_tokens=self._batch_tokens,
            want_greedy=True,
            watch=self._watch,
        )

    def _answer(self, result: PairResults) -> list[tuple[float, bool]]:
        assert result.is_greedy is not None
        self.num_truncated = int(result.is_truncated.sum())
        values = result.log_likelihoods[self.average]
        self.has_nan = bool(np.isnan(values).any())
        return list(zip(values.tolist(), result.is_greedy[self.average].tolist(), strict=True))


@register_model("megadocs")
class MegadocsLM(AveragedLM):
    """Models by name, for the harness's own command and `simple_evaluate`.

    Args:
        sources: folders or hub names of the members.
        pretrained: the same as one text, joined by `+`, for `model_args`.
        average: how members are averaged; without effect for one model.
        dtype: compute type; None: as `load_model` chooses.
        device: `cpu` or `cuda`.
        add_bos: whether prompts start with BOS; None: as the model says (`LoadedModel.begins_with_bos`).
        batch_tokens: tokens of one forward pass.
        batch_size: accepted for the harness's sake, without effect.
        max_batch_size: likewise.
    """

    def __init__(
        self,
        *sources: str,
        pretrained: str | None = None,
        average: Literal["logits", "probabilities"] = "logits",
        dtype: Dtype | None = None,
        device: str | None = "cpu",
        add_bos: bool | None = None,
        batch_tokens: int = 2048,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        names = [*sources, *(pretrained.split("+") if pretrained else [])]
        if not names:
            raise InputError("no model is named", where="model_args", remedy="pretrained=FOLDER[+FOLDER...]")
        members = [load_model(name, dtype=dtype, device=device or "cpu") for name in names]
        check_one_tokenizer(members)
        super().__init__(
            [member.model for member in members],
            members[0].tokenizer,
            [Average(tuple(range(len(members))), average)],
            add_bos=members[0].begins_with_bos if add_bos is None else add_bos,
            batch_tokens=batch_tokens,
        )
