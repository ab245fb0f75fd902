"""Sending an export to the Hugging Face hub: only when asked, private unless said otherwise.

    push_export(directory, "my-organisation/stitched-g8")

The access token comes from the environment or the hub client's own login; it is never written anywhere.
"""

from __future__ import annotations

from pathlib import Path

from megadocs.errors import InputError
from megadocs.hub_errors import hub_errors


def push_export(directory: str | Path, repo_id: str, *, private: bool = True, revision: str | None = None) -> str:
    """Upload a finished export as a dataset repository and return its address.

    Args:
        directory: what `export_stream` wrote; it must hold export.json.
        repo_id: `owner/name` on the hub.
        private: visible to the owner alone (the default).
        revision: branch; None: the default branch.

    Raises:
        InputError: the directory is no export, or the hub refused.
    """
    from huggingface_hub import HfApi

    directory = Path(directory)
    if not (directory / "export.json").is_file():
        raise InputError("not a finished export", where=str(directory), remedy="run the export first")
    api = HfApi()
    try:
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=directory, revision=revision)
    except hub_errors() as error:
        raise InputError(
            f"the hub refused or could not be reached: {str(error).splitlines()[0]}",
            where=repo_id,
            remedy="check the name, log in with `hf auth login` or set HF_TOKEN",
        ) from error
    return f"https://huggingface.co/datasets/{repo_id}"
