"""Files that are not read: the refusal names what is there and how it becomes something that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from megadocs.corpus.sources import list_files
from megadocs.errors import InputError


@pytest.mark.parametrize(
    ("names", "said", "remedy"),
    [
        (["a.md", "b.md", "c.pdf"], "(2 of .md, 1 of .pdf)", "renamed to .txt"),
        (["a.json"], "(1 of .json)", "jq -c '.[]'"),
        (["a.CSV", "README"], "(1 of .csv, 1 of no suffix)", "read_csv"),
        (["a.a", "b.b", "c.c", "d.d"], "(1 of .a, 1 of .b, 1 of .c, ...)", "renamed to .txt"),
    ],
)
def test_a_folder_of_other_kinds_is_described(tmp_path: Path, names: list[str], said: str, remedy: str) -> None:
    for name in names:
        (tmp_path / name).write_text("text")
    with pytest.raises(InputError) as caught:
        list_files(str(tmp_path))
    assert said in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(("name", "remedy"), [("a.md", ".txt"), ("a.json", "jq"), ("a.tsv", "read_csv")])
def test_a_file_of_another_kind_is_refused_with_its_conversion(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_text("text")
    with pytest.raises(InputError, match="unknown kind of file") as caught:
        list_files(str(tmp_path / name))
    assert remedy in caught.value.remedy


def test_an_empty_folder_is_not_said_to_hold_kinds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing matches"):
        list_files(str(tmp_path))
