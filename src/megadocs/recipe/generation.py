"""Recipe section `generate`: engine, sampling, tasks, quality policies, ceilings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from megadocs.kinds import (
    built_in_tasks,
    engine_names,
    engine_spec,
    engine_specs,
    is_own,
    task_key,
    task_kind,
    task_names,
)
from megadocs.recipe.addresses import server_of
from megadocs.recipe.base import MAX_SEED, Operational, Section
from megadocs.recipe.distillation import SampleConfig


class EngineConfig(Section):
    """Which program writes the text. Secrets never stand here: keys come from the environment (OPENAI_API_KEY)."""

    kind: str = Field(
        "embedded",
        description="; ".join(f"{spec.name}: {spec.description}" for spec in engine_specs() if spec.description)
        + "; module:attribute: a user's own, needs --allow-code.",
    )
    model: str = Field(
        "smollm2-135m-instruct",
        description="embedded: a GGUF file, Hugging Face folder or built-in name; llamacpp: a GGUF file or built-in "
        "name; openai: the served model's name; vllm: folder or hub.",
    )
    revision: str | None = Field(None, description="Model revision that enters every generation's identity.")
    base_url: Operational[str | None] = Field(None, description="openai: server address; none: OPENAI_BASE_URL.")
    api: Literal["chat", "completions"] = Field("chat", description="Which endpoint of an OpenAI-compatible server.")
    num_servers: Operational[int] = Field(
        1, ge=1, le=64, description="Engine processes side by side (embedded, llamacpp: with num_threads each)."
    )
    num_threads: Operational[int | None] = Field(
        1, ge=1, le=4096, description="CPU threads of one embedded or llamacpp server; none: all cores."
    )
    concurrency: Operational[int] = Field(
        4, ge=1, le=4096, description="Requests in flight per server; of embedded, where nothing is said, 32."
    )
    context_tokens: int = Field(2048, ge=64, le=10**7, description="Context of one request: prompt and reply together.")
    command: Operational[list[str]] = Field(
        default_factory=list, description="vllm: interpreter or container command before `serve`."
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Engine-specific extras, nested where the server wants it; "
        + "; ".join(f"{spec.name}: {spec.options_help}" for spec in engine_specs() if spec.options_help)
        + ".",
    )

    @field_validator("base_url")
    @classmethod
    def _is_server(cls, value: str | None) -> str | None:
        if value:
            server_of(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill_batch(cls, values: Any) -> Any:
        """The engine's own concurrency where the recipe names none."""
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", cls.model_fields["kind"].default)
        return {"concurrency": engine_spec(kind).concurrency, **values} if kind in engine_names() else values

    @field_validator("kind")
    @classmethod
    def _is_engine(cls, value: str) -> str:
        if value not in engine_names() and not is_own(value):
            raise ValueError(f"use one of {', '.join(engine_names())}, or module:attribute")
        return value


class TaskConfig(Section):
    """What any other task kind asks for, by its name (docs/kinds.md lists them) or as module:attribute."""

    num_generations: int = Field(2, ge=1, le=1024, description="Generations of each document.")
    style: str | None = Field(None, description="Prompt style; none: the kind's own.")
    diverse_styles: list[str] = Field(
        default_factory=list, description="Styles taken in turn across the generations; empty: `style` for all."
    )
    max_new_tokens: int | None = Field(
        None, ge=1, le=10**6, description="Length limit of one generation in generator tokens; none: the kind's own."
    )


class RephraseConfig(Section):
    """Whole-document rephrases: G independent samples of each document."""

    num_generations: int = Field(2, ge=1, le=1024, description="The paper's G for rephrases; they nest, so G can grow.")
    style: str = Field("wikipedia", description="Prompt style (file name in the registry, without .md).")
    diverse_styles: list[str] = Field(
        default_factory=list, description="Styles taken in turn across the generations; empty: `style` for all."
    )
    max_new_tokens: int = Field(1024, ge=1, le=10**6, description="Length limit of one rephrase in generator tokens.")


class ThoughtConfig(Section):
    """Latent thoughts: one sample at each of G equal-token split points."""

    num_generations: int = Field(
        2, ge=1, le=1024, description="The paper's G for thoughts; each G has its own split points."
    )
    style: str = Field("latent_thought", description="Prompt style (file name in the registry, without .md).")
    max_new_tokens: int = Field(512, ge=1, le=10**6, description="Length limit of one thought in generator tokens.")


#: What is done with a reply of a doubtful kind.
Policy = Literal["accept", "retry", "reject"]


class GatesConfig(Section):
    """What happens to a reply of doubtful quality. accept: keep, flagged; retry: another seed, then reject."""

    empty: Policy = Field("retry", description="Nothing but white space.")
    truncated: Policy = Field("accept", description="Cut by the length limit (the paper keeps it).")
    refusal: Policy = Field("accept", description="Opens like a refusal.")
    echo: Policy = Field("accept", description="Mostly a copy of the source.")
    repetition: Policy = Field("accept", description="Ends in a loop.")
    sibling: Policy = Field("accept", description="Nearly the same as another generation.")
    control_tokens: Policy = Field("accept", description="Holds chat-control strings.")
    filtered: Policy = Field("reject", description="Stopped by the server's content filter.")
    strip_preamble: bool = Field(True, description='Drop an opening line such as "Here is the article:".')
    max_source_overlap: float = Field(
        0.8, gt=0, le=1, description="Share of the reply's 8-grams found in the source that counts as echo."
    )


class LimitsConfig(Section):
    """Ceilings: reaching one stops gracefully, with everything so far kept."""

    max_requests: int | None = Field(
        None, ge=1, le=10**12, description="Requests sent in one invocation; none: no ceiling."
    )
    max_tokens: int | None = Field(None, ge=1, le=10**15, description="Prompt and reply tokens of one invocation.")
    max_cost: float | None = Field(None, gt=0, le=1e12, description="In the currency of price_per_million_*.")
    price_per_million_prompt_tokens: float = Field(0.0, ge=0, le=1e9, description="For progress, plan and max_cost.")
    price_per_million_new_tokens: float = Field(0.0, ge=0, le=1e9, description="For progress, plan and max_cost.")
    price_per_server_hour: float = Field(
        0.0, ge=0, le=1e9, description="One hour of one engine server (a GPU, say); for progress, plan and max_cost."
    )


class AskedTask(NamedTuple):
    """G, the styles that generations take in turn, and the length limit in generator tokens."""

    num_generations: int
    styles: tuple[str, ...]
    max_new_tokens: int


def _is_task(name: str) -> str:
    """A key of `generate` that is no field of it names a task kind."""
    if name not in built_in_tasks() and not is_own(name):
        raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
    return name


class GenerateConfig(Section):
    """Synthetic text: tasks, sampling, engine. Task kinds without a field here have a section by their name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_is_task)], TaskConfig] = Field(init=False)

    engine: EngineConfig = Field(default_factory=EngineConfig, description="Who writes.")
    rephrase: RephraseConfig | None = Field(None, description="Rephrases; none: not written.")
    thought: ThoughtConfig | None = Field(None, description="Latent thoughts; none: not written.")
    sample: SampleConfig | None = Field(None, description="Samples from models trained here; none: not drawn.")
    temperature: float = Field(1.0, ge=0, le=5, description="Sampling temperature; the paper's is 1.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus mass; 1 is off.")
    language: str = Field("same", description="`same` as the document (default), or a language's English name.")
    split_tokenizer: str | None = Field(
        None, description="Tokenizer of the split points; none: the generator's own. Never the student's."
    )
    long_documents: Literal["split", "truncate", "skip"] = Field(
        "truncate",
        description="A document over the engine's context: split at paragraphs, cut, or leave out; recorded.",
    )
    seed: int = Field(
        0, ge=0, le=MAX_SEED, description="Enters every identity: another seed is another set of generations."
    )
    max_attempts: int = Field(4, ge=1, le=20, description="Attempts per generation (transport and quality retries).")
    attempt_timeout_seconds: Operational[float] = Field(
        300, gt=0, le=86_400, description="Deadline of one request; embedded: without a sign of life from its worker."
    )
    gates: GatesConfig = Field(default_factory=GatesConfig, description="Policies for doubtful replies.")
    limits: Operational[LimitsConfig] = Field(default_factory=LimitsConfig, description="Ceilings of one invocation.")
    allow_remote: Operational[bool] = Field(
        False, description="Consent to send documents to a server that is not on this machine."
    )

    def task(self, name: str) -> AskedTask | None:
        """What is asked for of one task, with the kind's own style and limit where none is named; None: nothing."""
        section: RephraseConfig | ThoughtConfig | TaskConfig | None = getattr(self, task_key(name), None)
        if section is None:
            return None
        kind, diverse = task_kind(name), getattr(section, "diverse_styles", ())
        return AskedTask(
            section.num_generations,
            tuple(diverse) or (section.style or kind.style,),
            section.max_new_tokens or kind.max_new_tokens,
        )

    def with_num_generations(self, name: str, num_generations: int) -> GenerateConfig:
        """The same with this G for one task."""
        section = getattr(self, task_key(name)).model_copy(update={"num_generations": num_generations})
        return self.model_copy(update={task_key(name): section})

    @property
    def tasks(self) -> list[str]:
        """Names of the task kinds that are asked for, in the order of the registry."""
        return [name for name in task_names() if getattr(self, task_key(name), None) is not None]

    @property
    def own_kinds(self) -> list[str]:
        """Keys of the form `module:attribute`: the user's own kinds that are asked for."""
        return [name for name in self.model_extra or {} if is_own(name)]
