"""A finished run's folder, opened for use: its labels, its tokenizer, its model. No data is needed."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.config.authorship import is_own, with_own
from finesweep.config.build import build
from finesweep.config.saved import read_config
from finesweep.config.trust import check_trusted, strangers, targets_in, unread_environment
from finesweep.data.labels import TOKENS, LabelSchema
from finesweep.errors import Fault, FinesweepError
from finesweep.models import capabilities
from finesweep.models.adapters import merged
from finesweep.models.classifier import PLAIN
from finesweep.models.loading import saved_classifier
from finesweep.models.weights import check_complete, load_adapter, load_weights
from finesweep.runs.labels import read_labels
from finesweep.runs.layout import RunFolder
from finesweep.runs.leaderboard import best_trial
from finesweep.runs.sealing import MODEL, check_seal
from finesweep.system import console
from finesweep.system.records import read_json
from finesweep.system.signatures import find_beside
from finesweep.tokenization.encoder import TextEncoder

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SavedRun:
    """A run that is complete.

    Args:
        folder: its folder.
        config: as it was saved; nothing in it is called but what makes a plain module.
        schema: the label names, and how a regression's numbers are scaled.
        thresholds: multi-label: the tuned probability from which each label is predicted.
        trusted: targets, beyond finesweep's own, that its config may call.
    """

    folder: RunFolder
    config: dict[str, Any]
    schema: LabelSchema
    thresholds: tuple[float, ...] | None = None
    trusted: Collection[str] = ()

    @classmethod
    def open(cls, path: str | Path, trusted: Collection[str] = ()) -> SavedRun:
        """Open a run's folder, or that of a sweep's best trial.

        Args:
            path: of the folder.
            trusted: targets, beyond finesweep's own, that its config may call.

        Raises:
            FinesweepError: no run folder, or a run that isn't complete.
        """
        folder = RunFolder.open(best_trial(Path(path).expanduser()))
        state = folder.state()
        if state != "complete" or not folder.adapter.is_dir():
            rule = f"Only a complete run has a model to use; this one is {state}."
            raise FinesweepError(Fault(str(path), rule, fix=f"Finish it: finesweep resume {path}"))
        check_seal(folder, MODEL)
        return cls(folder, read_config(folder.config), *read_labels(folder), trusted)

    def setting(self, key: str, default: Any = None) -> Any:
        """Return a value of the config by its dotted key, interpolations resolved.

        What another user's config takes from the environment is left out: a card would publish it.
        """
        with nullcontext() if is_own(self.folder.config) else unread_environment():
            found = OmegaConf.select(OmegaConf.create(self.config), key, default=default)
            return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of the columns that held the texts: one, or two for pairs."""
        columns = self.setting("data.text_column", "text")
        return (columns,) if isinstance(columns, str) else tuple(columns)

    @property
    def file_settings(self) -> dict[str, Any]:
        """How the run's own text files are written, as far as it says."""
        source = self.setting("data.source", {})
        keys = ("delimiter", "quote", "encoding", "types", "decimal", "multiline")
        return {key: source[key] for key in keys if key in source}

    @property
    def thresholds_by_label(self) -> dict[str, float]:
        """The tuned thresholds of a multi-label run by label; empty for any other."""
        return dict(zip(self.schema.names, self.thresholds or (), strict=False))

    @property
    def is_tokens(self) -> bool:
        """Whether it labels words, not texts."""
        return self.schema.problem_type == TOKENS

    def encoder(self) -> TextEncoder:
        """Return the saved tokenizer with the run's lengths, windows and pooling."""
        saved = self.setting("tokenizer", {})
        own = set(inspect.signature(TextEncoder).parameters) - {"name", "revision", "collator"}
        settings = {name: value for name, value in saved.items() if name in own}
        return TextEncoder(str(self.folder.tokenizer), **settings)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the saved tokenizer."""
        return self.encoder().tokenizer

    def model(self) -> nn.Module:
        """Return the trained model in evaluation mode: a PeftModel, or a transformers model where none is.

        Raises:
            FinesweepError: the weights that an adapter stands on aren't where they were, or some don't fit.
        """
        console.quiet_libraries()
        if self.is_plain:
            return self._rebuilt()
        if not self.is_adapter:
            model, missing, unexpected = saved_classifier(self.folder.adapter, self.schema)
            check_complete(self.folder.adapter, missing, unexpected)
            return model.eval()
        self._check_backbone()
        backbone, missing, _ = saved_classifier(self.folder.backbone, self.schema)
        return load_adapter(backbone, self.folder.adapter, missing).eval()

    def plain_model(self) -> nn.Module:
        """Return the trained model without peft in it: its adapter merged, where the method can be."""
        model = self.model()
        return merged(model).eval() if self.is_adapter and self.merges else model

    @property
    def is_plain(self) -> bool:
        """Whether its model is a plain torch module, which its own code has to make."""
        config = (self.folder.backbone if self.is_adapter else self.folder.adapter) / "config.json"
        return config.is_file() and read_json(config).get("model_type") == PLAIN

    def _rebuilt(self) -> nn.Module:
        """Return a plain module, made by the saved target and with the saved weights.

        Raises:
            ConfigError: the target isn't trusted.
            FinesweepError: a weight that is missing, or that the module doesn't have.
        """
        from finesweep.models.plain import as_classifier  # with torch, which a card does without

        node = self.setting("model")
        with strangers(with_own(self.trusted, self.folder.config)):
            check_trusted(node, "model")
            find_beside(targets_in(node), Path.cwd())
            made = build(node, schema=self.schema)
        model = as_classifier(made, str(node["_target_"]), self.schema).model
        if not self.is_adapter:
            load_weights(model, self.folder.adapter)
            return model.eval()
        load_weights(model, self.folder.backbone)
        return load_adapter(model, self.folder.adapter).eval()

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds an adapter, rather than a whole model."""
        return (self.folder.adapter / "adapter_config.json").is_file()

    @property
    def merges(self) -> bool:
        """Whether its method's weights can become a part of the backbone's: prompts can't."""
        kind = read_json(self.folder.adapter / "adapter_config.json")["peft_type"]
        family = read_json(self.folder.backbone / "config.json")["model_type"]
        found = [method for method in capabilities.table()["methods"].values() if method["type"] == kind]
        known = [method["families"][family] for method in found if family in method["families"]]
        return bool(known) and all("merge" in abilities for abilities in known)

    def _check_backbone(self) -> None:
        gone = [file for file in self.folder.backbone.glob("*.safetensors") if not file.exists()]
        if gone:
            rule = f"The adapter stands on the weights of {self.setting('model.name')}, which are gone."
            fix = "Bring them back, or link the file anew."
            raise FinesweepError(Fault(str(gone[0]), rule, str(gone[0].readlink()), fix=fix))
