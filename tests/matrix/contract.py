"""What every PEFT method must do on every family of encoders, tried on tiny random models."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from composing import compose_config
from finesweep.config.build import build
from finesweep.data import LabelSchema
from finesweep.data.labels import MULTI, REGRESSION, TOKENS
from finesweep.errors import ConfigError
from finesweep.models.adalora import schedule_of
from finesweep.models.adapters import Adapted, attach, merged, with_listed_targets
from finesweep.models.classifier import Classifier
from finesweep.models.loading import load_classifier
from finesweep.models.weights import link_backbone
from finesweep.system.places import config_folder
from finesweep.training.losses import Loss, count_labels
from tiny import make_model

FAMILIES = (
    "bert", "roberta", "distilbert", "electra", "albert", "mpnet", "deberta-v2", "xlm-roberta", "modernbert",
    "camembert", "eurobert",
)  # fmt: skip
METHODS = tuple(sorted(file.stem for file in (config_folder() / "peft").glob("*.yaml")))
PROBLEMS = {
    "single-label": LabelSchema(("a", "b", "c"), ("a", "b", "c")),
    "multi-label": LabelSchema(("a", "b", "c"), ("a", "b", "c"), problem_type=MULTI),
    "regression": LabelSchema(("target",), (), problem_type=REGRESSION),
    "pair": LabelSchema(("a", "b"), ("a", "b")),
    "tokens": LabelSchema(("O", "B-x", "I-x"), ("O", "B-x", "I-x"), problem_type=TOKENS),
}
# Sizes that fit into a model 32 wide.
SMALL = {
    "adamss": ["peft.r=16"],
    "c3a": ["peft.block_size=16"],
    "psoft": ["peft.r=8"],
    "pvera": ["peft.r=16"],
    "vblora": ["peft.vector_length=16"],
    "vera": ["peft.r=16"],
    "waveft": ["peft.n_frequency=500"],
}
# Methods that change the model's output before the first step: random or virtual parts.
NOT_NEUTRAL = ("c3a", "p-tuning", "prefix-tuning", "prompt-tuning", "tinylora", "unilora", "vblora")
VOCABULARY, ROWS, LENGTH, STEPS = 200, 8, 12, 6
TOLERANCE = 1e-5


@dataclass
class Outcome:
    """What a method did on a family and a problem: the abilities it showed, and why it lacks the others."""

    abilities: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)

    def note_reload(self, fault: str | None) -> None:
        """Note what `reloaded` found: nothing, a fault, or None where there was nothing to reload."""
        if fault:
            self.faults["reload"] = fault
        elif fault is not None:
            self.abilities.add("reload")


def make_family(folder: Path, family: str) -> Path:
    """Save a tiny random model of a family, without a tokenizer of its own size."""
    return make_model(folder, family, vocab_size=VOCABULARY)


def exercise(method: str, model: Path, problem: str, folder: Path, *, merge: bool = True) -> Outcome:
    """Train a method for six steps, merge it, and leave what `reloaded` needs in a folder.

    Args:
        method: a file of conf/peft.
        model: a folder of `make_family`.
        problem: one of PROBLEMS.
        folder: is made.
        merge: try that too.
    """
    outcome = Outcome()
    classifier = load(model, problem)
    schema, inputs = PROBLEMS[problem], batch(problem, classifier)
    labels = inputs.pop("labels")
    before = logits(classifier.model, inputs)
    with noted(outcome, "train"):
        adapted = attach(classifier, made(method))
        if method not in NOT_NEUTRAL:
            assert torch.allclose(logits(adapted.model, inputs), before, atol=TOLERANCE), "changes the output"
        losses = train(
            adapted, Loss(schema.problem_type), inputs, labels, rate(method),
            check=lambda: check_gradients(method, adapted, classifier.fresh_modules),
        )  # fmt: skip
        assert losses[-1] < losses[0], f"six steps don't lower the loss: {losses}"
        again = attach(load(model, problem), made(method))
        repeated = train(again, Loss(schema.problem_type), inputs, labels, rate(method), num_steps=2)
        assert repeated == losses[:3], f"the same seed gives other losses: {repeated} and {losses}"
    if "train" not in outcome.abilities:
        return outcome
    expected = logits(adapted.model, inputs)
    save(classifier, adapted, folder)
    torch.save({"inputs": inputs, "logits": expected}, folder / "expected.pt")
    if not adapted.is_peft:
        outcome.abilities.add("merge")  # there is nothing to merge
    elif merge:
        with noted(outcome, "merge"):
            plain = merged(adapted.model)
            assert torch.allclose(logits(plain, inputs), expected, atol=TOLERANCE), (
                "merged, it predicts otherwise"
            )
    return outcome


def reloaded(folders: list[Path]) -> dict[str, str]:
    """Load saved models in one fresh process with plain peft and transformers.

    Returns:
        by folder, what is wrong with its predictions; nothing where they are the same.
    """
    script = Path(__file__).with_name("reload.py")
    done = subprocess.run(
        [sys.executable, str(script)], input="\n".join(map(str, folders)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def load(model: Path, problem: str) -> Classifier:
    """Load a tiny model with a problem's head, always the same."""
    torch.manual_seed(0)
    return load_classifier(name=str(model), schema=PROBLEMS[problem], dropout=0.0)


@functools.cache
def _config(method: str) -> dict[str, Any]:
    from omegaconf import OmegaConf

    words = [f"peft={method}", *SMALL.get(method, [])]
    return OmegaConf.to_container(compose_config(*words), resolve=True)  # type: ignore[return-value]


def made(method: str) -> Any:
    """Build a method's config from its file, without dropout."""
    node = dict(_config(method)["peft"])
    node |= {key: 0.0 for key in node if key.endswith("dropout")}
    torch.manual_seed(0)
    return build(with_listed_targets(node))


def rate(method: str) -> float:
    """Return the rate that a method's file brings, as far as a model 32 wide can bear it for six steps."""
    return min(float(_config(method)["trainer"]["learning_rate"]), 1e-3)


def batch(problem: str, classifier: Classifier) -> dict[str, torch.Tensor]:
    """Return random token ids of shape (rows, tokens), and labels that depend on the first of them."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(110, VOCABULARY, (ROWS, LENGTH), generator=random)
    ids[:, 0] = 101
    made = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if problem == "pair" and getattr(classifier.model.config, "type_vocab_size", 0) > 1:
        made["token_type_ids"] = torch.zeros_like(ids)
        made["token_type_ids"][:, LENGTH // 2 :] = 1
    count = len(PROBLEMS[problem].names)
    made["labels"] = {
        "multi-label": (ids[:, 1 : 1 + count] % 2).float(),
        "regression": ids[:, 1].float() / 50,
        "tokens": ids % count,
    }.get(problem, ids[:, 1] % count)
    return made


def logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return a model's logits."""
    model.eval()
    with torch.no_grad():
        return model(**inputs).logits


def train(
    adapted: Adapted,
    loss: Loss,
    inputs: dict[str, torch.Tensor],
    labels: torch.Tensor,
    rate: float,
    check: Callable[[], None] = lambda: None,
    num_steps: int = STEPS,
) -> list[float]:
    """Do some of six steps, check the gradients of the first; return the losses before each and after all."""
    model = adapted.model
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, ranks = torch.optim.AdamW(trained, rate), schedule_of(model, STEPS)
    losses = []
    for step in range(1, num_steps + 2):
        value = loss(model(**inputs).logits, labels) / count_labels(labels)
        losses.append(float(value))
        if step > num_steps:
            break
        (value + (ranks.penalty() if ranks else 0)).backward()
        if step == 1:
            check()
        optimizer.step()
        if ranks:
            ranks.after_step(step)
        optimizer.zero_grad()
    return losses


def check_gradients(method: str, adapted: Adapted, fresh_modules: Sequence[str]) -> None:
    """See that every parameter of the head gets a gradient, and beside it the method's own alone."""
    heads, reached, own = tuple(f".{name}." for name in fresh_modules), False, False
    for name, parameter in adapted.model.named_parameters():
        has_gradient = parameter.grad is not None and bool(parameter.grad.any())
        if any(head in f".{name}" for head in heads) and ".original_module." not in name:
            assert has_gradient, f"{name} of the head gets no gradient"
        elif parameter.requires_grad:
            assert _is_own(method, adapted, name), f"{name} of the backbone is trained"
            own, reached = True, reached or has_gradient
        else:
            assert parameter.grad is None, f"{name} is frozen and has a gradient"
    assert own == (method != "head-only"), "nothing but the head is trained"
    assert reached == own, "no parameter of the method gets a gradient"


def _is_own(method: str, adapted: Adapted, name: str) -> bool:
    if not adapted.is_peft:
        return method == "none" or (method == "bitfit" and name.endswith(".bias"))
    prefix = getattr(adapted.model.base_model, "prefix", None)  # such as lora_; prompt methods have none
    return f".{prefix}" in name if prefix else name.startswith("prompt_encoder.")


def save(classifier: Classifier, adapted: Adapted, folder: Path) -> None:
    """Save as a run does."""
    folder.mkdir(parents=True)
    if adapted.is_peft:
        link_backbone(classifier, folder / "backbone")
        adapted.model.active_peft_config.base_model_name_or_path = str(folder / "backbone")
    adapted.save(folder / "adapter")


@contextmanager
def noted(outcome: Outcome, ability: str) -> Iterator[None]:
    """Note an ability, or why it isn't there; anything may go wrong inside peft."""
    try:
        yield
    except ConfigError as error:
        outcome.faults[ability] = str(error).splitlines()[-1].strip()
    except Exception as error:
        outcome.faults[ability] = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        outcome.abilities.add(ability)
