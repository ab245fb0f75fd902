"""Foreign recipes through the command line: what they ask for does not happen, and what the person allows does."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

RECIPE = """
name: foreign
corpus: {source: docs.jsonl, id_field: id, split: {train: 4, validation: 2, test: 2, max_multiple: 1}}
generate:
  engine: ENGINE
  rephrase: {num_generations: 1, max_new_tokens: 16}
tokenizer: {kind: train, vocab_size: 300}
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1}
train: {context_length: 16, batch_size: 2, real_epochs: 1, dtype: float32}
arms: {simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.5}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": str(n), "text": f"Document {n} says something of its own. " * 5}) for n in range(12)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def with_code(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A verb with the folder's own modules on the path."""
    return megadocs(folder, *words, PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{folder}")


def megadocs(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    variables = clean | {"MEGADOCS_CONSENT": str(folder / "consent.yaml")} | environment
    command = [sys.executable, "-m", "megadocs", *words, "--workspace", "ws"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture
def server():
    """A server on this machine that notes what it is asked; its replies are no completions."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.headers.get("Authorization"), body))
            self.send_response(401)
            self.end_headers()

        def do_GET(self):
            asked.append((self.headers.get("Authorization"), ""))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1], asked
        running.shutdown()


@pytest.mark.parametrize("verb", [["run"], ["generate", "run"], ["rows"], ["generate", "retry"]])
def test_a_recipe_starts_no_program(folder, verb):
    engine = "{kind: vllm, model: x, command: [sh, -c, 'touch pwned']}"
    (folder / "recipe.yaml").write_text(RECIPE.replace("ENGINE", engine))
    ended = (
        megadocs(folder, *verb[:2], "recipe.yaml")
        if verb[0] == "generate"
        else megadocs(folder, verb[0], "recipe.yaml", *verb[1:])
    )
    assert ended.returncode == 2, ended.stderr
    assert "start the program 'sh -c touch pwned'" in ended.stderr
    assert not (folder / "pwned").exists()


def test_looking_at_it_needs_no_consent(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("ENGINE", "{kind: vllm, model: x, command: [sh]}"))
    for words in (["plan"], ["corpus"], ["generate", "status"]):
        ended = megadocs(folder, *words, "recipe.yaml")
        assert ended.returncode == 0, ended.stderr


def test_a_recipe_sends_neither_text_nor_key(folder, server):
    port, asked = server
    engine = f"{{kind: openai, model: x, base_url: 'http://{os.uname().nodename}:{port}/v1'}}\n  allow_remote: true"
    (folder / "recipe.yaml").write_text(RECIPE.replace("ENGINE", engine))
    ended = megadocs(folder, "run", "recipe.yaml", OPENAI_API_KEY="sk-secret")
    assert ended.returncode == 2, ended.stderr
    assert "not on this machine" in ended.stderr
    assert "generate.allow_remote=true" in ended.stderr
    assert asked == []


def test_the_key_stays_where_it_belongs_even_with_consent(folder, server):
    port, asked = server
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("ENGINE", f"{{kind: openai, model: x, base_url: 'http://127.0.0.1:{port}/v1'}}")
    )
    ended = megadocs(folder, "generate", "run", "recipe.yaml", OPENAI_API_KEY="sk-secret")
    assert ended.returncode == 1, ended.stderr
    assert "OPENAI_BASE_URL=" in ended.stderr
    assert asked
    assert all(key is None for key, _ in asked)
    asked.clear()
    given = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    megadocs(folder, "generate", "run", "recipe.yaml", **given)
    assert all(key == "Bearer sk-secret" for key, _ in asked)


def test_a_recipe_opens_no_port_and_trusts_no_code(folder):
    engine = "{kind: vllm, model: x, options: {trust_remote_code: true, host: 0.0.0.0, port: 1}}"
    (folder / "recipe.yaml").write_text(RECIPE.replace("ENGINE", engine))
    for words in (["run", "recipe.yaml"], ["run", "recipe.yaml", "generate.engine.command=[sh]"]):
        ended = megadocs(folder, *words)
        assert ended.returncode == 2
        assert "is refused" in ended.stderr


def test_code_is_demanded_only_where_an_ordering_is_needed(folder):
    (folder / "mine.py").write_text(
        "import pathlib\npathlib.Path('loaded').touch()\nfrom megadocs.kinds.orders import stitched as order\n"
    )
    recipe = RECIPE.replace("ENGINE", "{kind: fake, model: fake}").replace("ordering: simple", "ordering: 'mine:order'")
    (folder / "recipe.yaml").write_text(
        f"{recipe}search: {{axes: {{train.learning_rate: {{values: [1e-3, 1e-2]}}}}}}\n"
    )
    for words in (["corpus"], ["generate", "run"], ["generate", "status"], ["generate", "audit"]):
        ended = with_code(folder, *words, "recipe.yaml")
        assert ended.returncode == 0, ended.stderr
    for words in (["plan"], ["run", "--dry-run"], ["search", "--dry-run"], ["rows"], ["train"]):
        ended = with_code(folder, words[0], "recipe.yaml", *words[1:])
        assert ended.returncode == 2, words
        assert "pass --allow-code" in ended.stderr
    assert not (folder / "loaded").exists()
    for words in (["plan"], ["search", "--dry-run"], ["rows"]):
        ended = with_code(folder, words[0], "recipe.yaml", *words[1:], "--allow-code")
        assert ended.returncode == 0, ended.stderr
    assert (folder / "loaded").exists()
