"""`trainer=native`: the keys of finesweep's own loop, which is in loop.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finesweep.system.signatures import forwards_to
from finesweep.training.base import Trainer, TrainingTask
from finesweep.training.settings import read_keys

KEYS = """
    loss optimizer lr_scheduler loraplus_lr_ratio early_stopping_patience early_stopping_threshold
    num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps
    optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor
    per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps
    train_sampling_strategy
    eval_strategy eval_steps eval_delay eval_rows logging_strategy logging_steps logging_first_step
    save_strategy save_steps save_total_limit load_best_model_at_end metric_for_best_model greater_is_better
    resume_from_checkpoint seed data_seed bf16 fp16 tf32 use_cpu
    activation_checkpointing activation_checkpointing_kwargs
    gradient_checkpointing gradient_checkpointing_kwargs
    torch_compile torch_compile_backend torch_compile_mode ddp_find_unused_parameters
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor
    dataloader_drop_last
""".split()  # noqa: SIM905 (a list of fifty strings reads worse)


def can_record(trainer: Mapping[str, Any]) -> bool:
    """Say whether a trainer's config is this one's and steps run on a CUDA device: see training/graphs.py."""
    import torch

    is_native = trainer.get("_target_") == f"{__name__}.{native_trainer.__name__}"
    return is_native and not trainer.get("use_cpu") and torch.cuda.is_available()


@forwards_to(
    "finesweep.training.settings.read_keys",
    reserved={},
    only=KEYS,
    others="trainer=native has no such key; trainer=hf has.",
)
def native_trainer(*, task: TrainingTask, **keys: Any) -> Trainer:
    """Return a trainer that is a plain PyTorch loop on Accelerate.

    Args:
        task: what to train, on what, and who listens.
        keys: those of `finesweep.training.settings.read_keys` that KEYS names.

    Raises:
        ConfigError: the keys contradict each other, or this machine can't do what they ask.
    """
    from finesweep.training.loop import NativeTrainer

    return NativeTrainer(*read_keys(task, **keys))
