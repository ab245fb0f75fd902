"""The numbers of a report as tables and figures.

results = open_workspace("runs/quickstart").results
results                                    # in a notebook: the answer, the figure, the losses
results.frame("data_efficiency")           # pandas; results.table(...) is Arrow
results.figure("worth", theme="dark").save("worth.svg")
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from megadocs.errors import InputError
from megadocs.pipeline.stages.run_records import FinishedRun
from megadocs.report import Curve
from megadocs.report.figures import difference_figure, efficiency_figure, training_figure
from megadocs.report.standalone import Theme, standalone_svg
from megadocs.report.tables import parquet_bytes, result_tables
from megadocs.store.artifact import Workspace
from megadocs.store.files import write_bytes_atomic

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Rows of the table that a notebook shows.
_MAX_SHOWN = 20


@dataclass(frozen=True)
class Figure:
    """A drawing; a notebook shows it, `save` writes it, `svg` is its text."""

    svg: str
    description: str

    def save(self, path: str | Path) -> Path:
        """Write it as an SVG file; returns the path."""
        write_bytes_atomic(Path(path), self.svg.encode("utf-8"))
        return Path(path)

    def _repr_html_(self) -> str:
        """As an image, so that its style sheet touches nothing of the page around it."""
        data = base64.b64encode(self.svg.encode("utf-8")).decode("ascii")
        return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}" width="744">').format(data, self.description)


class Results:
    """What a workspace's report says.

    Args:
        data: the content of results.json (docs/report.md describes it).
        workspace: where it lies; training curves are read from there.

    Attributes:
        data: the same, as plain values.
    """

    def __init__(self, data: Mapping[str, Any], workspace: Path) -> None:
        self.data = data
        self._workspace = Workspace(workspace)

    @property
    def answer(self) -> list[str]:
        """The report's first sentences: what the synthetic text was worth, and the limits of that."""
        return [*self.data["answer"], *self.data["warnings"]]

    @property
    def tables(self) -> list[str]:
        """The names of the tables that have rows."""
        return sorted(name for name, rows in self._tables.items() if rows)

    def table(self, name: str) -> pa.Table:
        """A table as Arrow: columns of numbers are int64 or float64, everything else is text.

        Raises:
            InputError: there is no table of that name, or it is empty.
        """
        import pyarrow.parquet as pq

        if name not in self.tables:
            raise InputError(f"no table {name!r:.80}", where="table", remedy=f"choose one of {', '.join(self.tables)}")
        return pq.read_table(io.BytesIO(parquet_bytes(self._tables[name])))

    def frame(self, name: str) -> pd.DataFrame:
        """A table as a pandas data frame; see `table`."""
        try:
            import pandas  # noqa: F401
        except ModuleNotFoundError as error:
            remedy = "pip install pandas; `table` gives Arrow without it"
            raise InputError("pandas is not installed", where="frame", remedy=remedy) from error
        return self.table(name).to_pandas()

    def figure(self, name: str = "worth", *, theme: Theme = "auto") -> Figure:
        """A figure of the report.

        Args:
            name: `worth` (synthetic arms on the real-only curve), `differences` (to the baseline, with intervals) or
                `training` (curves; needs the runs of the workspace).
            theme: `light`, `dark`, or `auto`: the reader's setting.

        Raises:
            InputError: no such figure, or nothing to draw in it.
        """
        block = self.data["sets"][0]
        drawings: dict[str, Callable[[], Markup | None]] = {
            "worth": lambda: efficiency_figure(self.data, block),
            "differences": lambda: difference_figure(self.data, block),
            "training": lambda: training_figure(self.data, self._curves()),
        }
        if name not in drawings:
            raise InputError(f"no figure {name!r:.80}", where="figure", remedy=f"choose one of {', '.join(drawings)}")
        drawn = drawings[name]()
        if drawn is None:
            remedy = "`worth` needs two real-only arms, `differences` two arms, `training` the runs in the workspace"
            raise InputError(f"nothing to draw in the figure {name}", where=str(self._workspace.root), remedy=remedy)
        return Figure(standalone_svg(drawn, theme), f"{name}: {self.answer[0]}")

    def _curves(self) -> Sequence[Curve]:
        """The training curves of the runs that lie in the workspace."""
        found = ((row, self._workspace.find("train", row["fingerprint"])) for row in self.data["runs"])
        return [FinishedRun(row["arm"], row["seed"], train, train).curve() for row, train in found if train is not None]

    @cached_property
    def _tables(self) -> dict[str, list[dict[str, Any]]]:
        return result_tables(self.data)

    def __repr__(self) -> str:
        return f"Results({str(self._workspace.root)!r}): {self.answer[0]}"

    def _repr_html_(self) -> str:
        """For notebooks: the answer, its figure where there is one, and the losses."""
        parts = [Markup("<p><b>{}</b></p>").format(self.answer[0])]
        parts += [Markup("<p>{}</p>").format(sentence) for sentence in self.answer[1:]]
        with suppress(InputError):  # without a real-only curve there is no figure; the table says the rest
            parts.append(Markup(self.figure("worth")._repr_html_()))
        headline = self.data["headline"]
        rows = [row for row in self._tables["losses"] if (row["set"], row["mode"]) == tuple(headline.values())]
        columns = [name for name in rows[0] if name not in headline] if rows else []
        cell = Markup("<td>{}</td>")
        head = Markup("").join(Markup("<th>{}</th>").format(name) for name in columns)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(cell.format(_shown(row.get(name))) for name in columns))
            for row in rows[:_MAX_SHOWN]
        )
        parts.append(Markup("<table><tr>{}</tr>{}</table>").format(head, body))
        return Markup("").join(parts)


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
