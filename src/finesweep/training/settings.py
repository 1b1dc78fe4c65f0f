"""What both trainers make of their keys: TrainingArguments, an optimizer, a schedule."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.metrics.registry import LOSS, direction_of, metric_names
from finesweep.models.transformers_insides import decaying_names
from finesweep.system.signatures import forwards_to
from finesweep.training.base import TrainingTask
from finesweep.training.own_loss import OwnLoss
from finesweep.training.watching import EvalRows, watched_task

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

# The one field of TrainingArguments that isn't the user's.
RESERVED = {
    "output_dir": "Checkpoints belong to the run folder. Set the key `output_dir` instead, without `trainer.`"
}
# What a checkpoint counts its place in the data by, and what its optimizer's state holds.
BOUND_KEYS = ("per_device_train_batch_size", "gradient_accumulation_steps", "data_seed",
              "train_sampling_strategy", "dataloader_drop_last", "learning_rate", "optim", "optim_args",
              "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon")  # fmt: skip

# What accelerate can shard a model with, as it names them in the environment.
SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")


@dataclass(frozen=True)
class Extras:
    """Trainer keys beside those of TrainingArguments.

    Args:
        optimizer: makes an optimizer from parameter groups (a `_partial_`), in place of `optim`.
        lr_scheduler: makes a schedule from an optimizer (a `_partial_`), in place of `lr_scheduler_type`.
        loraplus_lr_ratio: LoRA+ (Hayou et al. 2024, arXiv:2402.12354): how many times as fast B learns as A.
        early_stopping_patience: evaluations without a better objective after which training stops.
        early_stopping_threshold: by how much better it must be.
        eval_rows: texts that an evaluation during training has; `all`: the whole validation split.
        loss: the user's own.
    """

    optimizer: Callable[..., Any] | None = None
    lr_scheduler: Callable[..., Any] | None = None
    loraplus_lr_ratio: float | None = None
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0
    eval_rows: int | str = "all"
    loss: OwnLoss | None = None

    def has_stalled(self, values: Sequence[float], *, maximize: bool) -> bool:
        """Say whether each of the last `early_stopping_patience` objectives fell short of the best before."""
        if self.early_stopping_patience is None:
            return False
        best, waited = None, 0
        for value in (v if maximize else -v for v in values):
            value = -math.inf if math.isnan(value) else value
            if best is None or value > best + self.early_stopping_threshold:
                waited = 0
            else:
                waited += 1
            best = value if best is None else max(best, value)
        return waited >= self.early_stopping_patience


@forwards_to("transformers.TrainingArguments", reserved=RESERVED)
def read_keys(
    task: TrainingTask,
    *,
    optimizer: Callable[..., Optimizer] | None = None,
    lr_scheduler: Callable[..., LRScheduler] | None = None,
    loraplus_lr_ratio: float | None = None,
    early_stopping_patience: int | None = None,
    early_stopping_threshold: float = 0.0,
    eval_rows: EvalRows = "all",
    loss: OwnLoss | None = None,
    **arguments: Any,
) -> tuple[TrainingTask, Any, Extras]:
    """Read a trainer's keys; return the task as they have it, TrainingArguments, and the others.

    Args:
        task: what to train.
        optimizer: these six are Extras'.
        lr_scheduler: makes a schedule from an optimizer.
        loraplus_lr_ratio: LoRA+'s ratio of rates.
        early_stopping_patience: evaluations.
        early_stopping_threshold: in units of the objective.
        eval_rows: see watched_task. A config from before there was this key has all of them.
        loss: the user's own, in the place of the problem type's.
        arguments: fields of transformers.TrainingArguments. Checkpoints are saved when the
            validation split is evaluated, unless `save_strategy` and `save_steps` say otherwise.
            `resume_from_checkpoint` is where to start when the run has no checkpoint of its own yet.

    Raises:
        ConfigError: the fields contradict each other, or this machine can't do what they ask.
    """
    if early_stopping_patience is not None and early_stopping_patience < 1:
        rule = "It counts evaluations, so it must be 1 or more; null never stops early."
        raise ConfigError(Fault("trainer.early_stopping_patience", rule, early_stopping_patience))
    if loss:
        task = replace(task, loss=replace(task.loss, own=loss, unit=1.0))
    if smoothing := arguments.get("label_smoothing_factor"):
        task.loss.check_smoothing(smoothing)
    args = _training_arguments(task, arguments)
    task = watched_task(task, args, eval_rows)
    extras = Extras(
        optimizer,
        lr_scheduler,
        loraplus_lr_ratio,
        early_stopping_patience,
        early_stopping_threshold,
        task.eval_rows or "all",
        loss,
    )
    return task, args, extras


def _training_arguments(task: TrainingTask, arguments: Mapping[str, Any]) -> Any:
    """Return TrainingArguments with finesweep's defaults under the user's fields."""
    import torch
    from transformers import TrainingArguments

    arguments = {name.replace("gradient_check", "activation_check"): v for name, v in arguments.items()}
    evaluation = {
        name: arguments[f"eval_{name}"] for name in ("strategy", "steps") if f"eval_{name}" in arguments
    }
    defaults = {f"save_{name}": value for name, value in evaluation.items()}
    defaults |= {
        "seed": task.seed,
        "data_seed": arguments.get("seed", task.seed),
        "metric_for_best_model": task.objective,
        "greater_is_better": _is_better_higher(arguments.get("metric_for_best_model"), task),
        "load_best_model_at_end": True,
        "label_names": ["labels"],  # without it eval_loss goes missing under PEFT
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.accelerator.is_available(),
        "logging_nan_inf_filter": False,  # a NaN loss must be seen, not replaced by the last good one
    }
    for kind in SHARDING:
        if os.environ.get(f"ACCELERATE_USE_{kind}", "false").lower() in ("true", "1"):
            rule = "Each process holds a whole copy of the model here; an encoder needs no sharding."
            raise ConfigError(Fault("accelerate", rule, kind, fix="Choose MULTI_GPU in `accelerate config`."))
    with refusals():
        args = TrainingArguments(**{**defaults, **arguments}, output_dir=str(task.checkpoints))
        on_cpu = args.device.type == "cpu"  # reading it joins the other processes
    if args.mixed_precision == "fp16" and on_cpu:  # accelerate would leave it out without a word
        key = "trainer.fp16" if args.fp16 else "accelerate's mixed_precision"
        fix = "trainer.bf16=true works on a CPU too."
        raise ConfigError(Fault(key, "Training in fp16 needs a GPU.", fix=fix))
    return args


def _is_better_higher(metric: str | None, task: TrainingTask) -> bool:
    """Say whether more of the metric that picks the best checkpoint is better; None is the objective."""
    name = task.objective if metric is None else metric.removeprefix("eval_")
    if name == task.objective:
        return task.maximize
    has_entry = name in (*metric_names(), LOSS)  # a class's F1 has none
    return not has_entry or direction_of(name) == "maximize"


def bound_keys(args: Any, extras: Extras) -> dict[str, Any]:
    """Return the values that a training can't change when it goes on from a checkpoint.

    At another batch size, or in another order, rows would come twice and others not at all. A rate would not
    count: the optimizer's state holds the old one. The best evaluation so far would be held against others.
    """
    values = {name: getattr(args, name) for name in BOUND_KEYS}
    own = {name: _described(getattr(extras, name)) for name in ("optimizer", "lr_scheduler")}
    own["loss"] = str(extras.loss) if extras.loss else None
    values |= {**own, "loraplus_lr_ratio": extras.loraplus_lr_ratio, "eval_rows": extras.eval_rows}
    return {name: getattr(value, "value", value) for name, value in values.items()}  # an enum's text


def _described(factory: Callable[..., Any] | None) -> str | None:
    if factory is None:
        return None
    kind = getattr(factory, "func", factory)
    return f"{kind.__module__}.{kind.__qualname__} {dict(sorted(getattr(factory, 'keywords', {}).items()))}"


@contextmanager
def refusals(key: str = "trainer", *more: type[Exception]) -> Iterator[None]:
    """Turn what transformers and accelerate refuse, a ValueError or one of `more`, into a config error."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, *more) as error:
        raise ConfigError(Fault(key, f"transformers refuses it: {error}")) from error


def best_metric_name(args: Any, metrics: Mapping[str, float]) -> str:
    """Return the validation metric that picks the best checkpoint.

    Raises:
        ConfigError: it isn't among the metrics.
    """
    name = args.metric_for_best_model.removeprefix("eval_")
    if name not in metrics:
        rule = f"There is no such metric. {nearest(name, metrics)}".strip()
        raise ConfigError(Fault("trainer.metric_for_best_model", rule, name, valid=tuple(metrics)))
    return name


def make_optimizer(model: Any, args: Any, extras: Extras) -> Optimizer:
    """Return an optimizer over the trainable parameters; biases and norms don't decay.

    Args:
        model: the prepared model.
        args: TrainingArguments.
        extras: the other keys.

    Raises:
        ConfigError: LoRA+ on a model without LoRA, or an `optim` that can't be made.
    """
    from transformers import Trainer

    if extras.optimizer is not None:
        kind, settings = extras.optimizer, _accepted(extras.optimizer, lr=args.learning_rate)
    else:
        with refusals("trainer.optim", TypeError, ImportError):
            kind, settings = Trainer.get_optimizer_cls_and_kwargs(args, model)
    decay = getattr(kind, "keywords", {}).get("weight_decay", args.weight_decay)
    if extras.loraplus_lr_ratio is not None:
        return _make_loraplus(model, kind, settings, args, extras.loraplus_lr_ratio, decay)
    decays = decaying_names(model)
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [w for name, w in trained if name in decays], "weight_decay": decay},
        {"params": [w for name, w in trained if name not in decays], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return kind(settings.pop("params", groups), **settings)


def _make_loraplus(
    model: Any, kind: Any, settings: dict[str, Any], args: Any, ratio: float, decay: float
) -> Optimizer:
    from peft.optimizers import create_loraplus_optimizer

    if not any("lora_B" in name for name, _ in model.named_parameters()):
        rule = "LoRA+ sets the rates of LoRA's two matrices, and this model has none."
        raise ConfigError(Fault("trainer.loraplus_lr_ratio", rule, ratio, fix="Choose peft=lora."))
    settings = {"lr": getattr(kind, "keywords", {}).get("lr", args.learning_rate), **settings}
    # peft asks for a class's name, which a partial lacks.
    is_class = inspect.isclass(kind)
    cls: Any = kind if is_class else lambda groups, **known: kind(groups, **_accepted(kind, **known))
    return create_loraplus_optimizer(
        model, cls, loraplus_lr_ratio=ratio, loraplus_weight_decay=decay, **settings
    )


def make_scheduler(optimizer: Optimizer, args: Any, extras: Extras, num_steps: int) -> Any:
    """Return the schedule of the learning rate over `num_steps` optimizer steps.

    Raises:
        ConfigError: `lr_scheduler_kwargs` that it doesn't take.
    """
    from transformers import get_scheduler

    warmup = args.get_warmup_steps(num_steps)
    if extras.lr_scheduler is not None:
        known = _accepted(extras.lr_scheduler, num_training_steps=num_steps, num_warmup_steps=warmup)
        return extras.lr_scheduler(optimizer, **known)
    settings = dict(args.lr_scheduler_kwargs or {})
    if args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        settings = {"mode": "max" if args.greater_is_better else "min", **settings}
    with refusals("trainer.lr_scheduler_kwargs", TypeError):
        return get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            num_warmup_steps=warmup,
            num_training_steps=num_steps,
            scheduler_specific_kwargs=settings,
        )


def follows_the_metric(scheduler: Any) -> bool:
    """Say whether a schedule takes its steps at evaluations, from the metric that picks the best one."""
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers.optimization import GreedyLR

    return isinstance(scheduler, ReduceLROnPlateau | GreedyLR)


def _accepted(factory: Callable[..., Any], **known: Any) -> dict[str, Any]:
    """Return those of the known values that a factory takes and its config hasn't set."""
    given = getattr(factory, "keywords", {})
    names = inspect.signature(getattr(factory, "func", factory)).parameters
    return {name: value for name, value in known.items() if name in names and name not in given}
