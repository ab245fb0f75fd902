"""Who owns which page of the caches: a free list and counts of owners.

    pages = PageTable(num_pages=200)
    page = pages.take()                   # None: there is none left
    pages.share(prompt_pages)             # one more owner of each
    pages.release(table)                  # one owner fewer; the last one frees

Page 0 is never handed out: it stands for "no page" in the rectangles of an index.
"""

from __future__ import annotations

from collections.abc import Iterable


class PageTable:
    """Counts the owners of every page."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages - 1
        self._owners = [0] * num_pages
        self._free = list(range(num_pages - 1, 0, -1))

    @property
    def num_free(self) -> int:
        """Pages without an owner."""
        return len(self._free)

    def take(self) -> int | None:
        """A free page, owned once; None where there is none."""
        if not self._free:
            return None
        page = self._free.pop()
        self._owners[page] = 1
        return page

    def share(self, pages: Iterable[int]) -> None:
        """One more owner for each."""
        for page in pages:
            assert self._owners[page] > 0, f"page {page} has no owner to share with"
            self._owners[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """One owner fewer for each."""
        for page in pages:
            self._owners[page] -= 1
            assert self._owners[page] >= 0, f"page {page} was released twice"
            if self._owners[page] == 0:
                self._free.append(page)
