"""Prompts in the cache: read once, shared by all sequences that start from them, forgotten when room is needed.

prompt = prompts.begin(tokens)            # takes over the longest beginning that a prompt in the cache shares
prompt.num_read = ...                     # the caller reads the rest, chunk by chunk
pages = prompts.fork(prompts.find(tokens))  # a sequence of its own behind it
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from megadocs.model.page_table import PageTable
from megadocs.model.paged_cache import PAGE_POSITIONS


@dataclass(slots=True, eq=False)
class Prompt:
    """Token ids and the pages that hold them."""

    #: all of them; at least one is not read yet when it begins, so that there are logits after the last.
    tokens: tuple[int, ...]
    pages: list[int]  # its own and shared ones
    num_read: int  # positions that hold their keys and values
    num_shared: int  # of these, taken from another prompt
    logits: Tensor | None = None  # after its last token, (1, V), once it is read
    num_unscored: int | None = None  # tokens before those whose log-probabilities are wanted; None: no token's are

    @property
    def is_read(self) -> bool:
        """Whether sequences may start from it."""
        return self.num_read == len(self.tokens)


class PromptCache:
    """Prompts by their tokens, in the order of their last use.

    Args:
        pages: shared with the sequences.
        copy_page: copies the contents of a page to another one.
    """

    def __init__(self, pages: PageTable, copy_page: Callable[[int, int], None]) -> None:
        self._pages, self._copy_page = pages, copy_page
        self._prompts: collections.OrderedDict[tuple[int, ...], Prompt] = collections.OrderedDict()

    def find(self, tokens: tuple[int, ...]) -> Prompt | None:
        """The prompt of these tokens, if it is read."""
        prompt = self._prompts.get(tokens)
        if prompt is None or not prompt.is_read:
            return None
        self._prompts.move_to_end(tokens)
        return prompt

    def begin(self, tokens: tuple[int, ...], *, num_unscored: int | None = None) -> Prompt | None:
        """A prompt with all its pages, the beginning filled from others; None when there are not enough pages.

        Args:
            num_unscored: scores are wanted behind so many tokens; their logits have to be computed here.
        """
        best, common = self._longest_beginning(tokens)
        common = min(common, len(tokens) - 1 if num_unscored is None else num_unscored - 1)
        num_whole, rest = divmod(common, PAGE_POSITIONS)
        shared = best.pages[:num_whole] if best is not None else []
        self._pages.share(shared)
        half_full = best.pages[num_whole] if best is not None and rest else None
        if half_full is not None:
            self._pages.share([half_full])  # holds it while room is made
        pages = [*shared]
        while len(pages) * PAGE_POSITIONS < len(tokens):
            page = self.take_page()
            if page is None:
                break
            pages.append(page)
        is_whole = len(pages) * PAGE_POSITIONS >= len(tokens)
        if half_full is not None:
            if is_whole:
                self._copy_page(half_full, pages[num_whole])
            self._pages.release([half_full])
        if not is_whole:
            self._pages.release(pages)
            return None
        prompt = Prompt(tokens, pages, common, common, num_unscored=num_unscored)
        if num_unscored is None:
            self._prompts[tokens] = prompt
        return prompt

    def fork(self, prompt: Prompt) -> list[int] | None:
        """Pages for a sequence behind a prompt: whole ones shared, a half full one copied; None: no page is left."""
        num_whole = len(prompt.tokens) // PAGE_POSITIONS
        shared, half_full = prompt.pages[:num_whole], prompt.pages[num_whole:]
        self._pages.share(shared)
        if not half_full:
            return [*shared]
        self._pages.share(half_full)  # making room may forget this very prompt
        page = self.take_page()
        if page is not None:
            self._copy_page(half_full[0], page)
        self._pages.release(half_full if page is not None else [*half_full, *shared])
        return None if page is None else [*shared, page]

    def take_page(self) -> int | None:
        """A free page; prompts that were not used for longest are forgotten for it. None: sequences hold them all."""
        while (page := self._pages.take()) is None:
            oldest = next((prompt for prompt in self._prompts.values() if prompt.is_read), None)
            if oldest is None:
                return None
            self.forget(oldest)
        return page

    def forget(self, prompt: Prompt) -> None:
        """Its pages lose an owner; sequences that started from it keep theirs."""
        if self._prompts.get(prompt.tokens) is prompt:
            del self._prompts[prompt.tokens]
        self._pages.release(prompt.pages)
        prompt.pages = []

    def _longest_beginning(self, tokens: tuple[int, ...]) -> tuple[Prompt | None, int]:
        """The prompt that shares most with these tokens, as far as it is read, and how much."""
        wanted, best, most = np.array(tokens), None, 0
        for prompt in self._prompts.values():
            length = min(len(tokens), prompt.num_read)
            if length <= most:
                continue
            differs = np.flatnonzero(wanted[:length] != np.array(prompt.tokens[:length]))
            common = int(differs[0]) if len(differs) else length
            if common > most:
                best, most = prompt, common
        return best, most
