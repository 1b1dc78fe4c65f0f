"""From a checked config to a model and its encoded data: steps 2 to 6 of the walk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.config.build import build
from finesweep.errors import ConfigError, Fault, FinesweepError
from finesweep.models.adapters import with_listed_targets
from finesweep.models.classifier import Classifier, weights_fingerprint
from finesweep.models.loading import check_attention
from finesweep.runs.evaluation import Evaluator
from finesweep.runs.matching import check_fits
from finesweep.runs.memory import Shortage, estimated_memory, shortage
from finesweep.runs.objective import with_objective
from finesweep.runs.outcome import describe_size
from finesweep.runs.provenance import recorded_speedups
from finesweep.system import console, distributed
from finesweep.system.randomness import seed_everything
from finesweep.tokenization.notes import split_sizes, truncation_note, truncation_warnings, unknown_warnings
from finesweep.training.base import PACKED, Packing
from finesweep.training.native import can_record

if TYPE_CHECKING:
    from finesweep.data import TextData
    from finesweep.models.adapters import Adapted
    from finesweep.tokenization.encoder import TextEncoder
    from finesweep.tokenization.notes import Encoded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs before its first step; no folder has been written yet.

    The config names its objective, which `auto` leaves to the data. `short` says that memory doesn't suffice.
    """

    config: dict[str, Any]
    data: TextData
    encoder: TextEncoder
    encoded: Encoded
    classifier: Classifier
    adapted: Adapted
    speedups: tuple[str, ...]
    fingerprints: dict[str, Any]
    pack: Packing | None = None
    short: Shortage | None = None

    @property
    def evaluator(self) -> Evaluator:
        """What makes metrics of the model's outputs."""
        return Evaluator(self.data, self.encoded, self.encoder.pooling)


def prepare(
    config: dict[str, Any],
    weights: Path | None = None,
    speedups_of: Path | None = None,
    pack: Packing | None = None,
) -> Prepared:
    """Walk from a checked config to a model and its encoded data (steps 2 to 6).

    Args:
        config: as `check` returns it.
        weights: a run's saved adapter or model, to predict with; left out, the model is fresh.
        speedups_of: provenance.json of the run that this one repeats or goes on with: `auto` means no
            speed-ups that it didn't have.
        pack: trains the model together with others: where the config leaves the speed-ups to us, they are
            the pack's.
    """
    console.quiet_libraries()
    from finesweep.models import adapters, plain, speedups

    attention = None if weights else config["model"].get("attn_implementation")
    check_attention(attention)
    seed_everything(config["seed"], config["threads"])
    with distributed.main_first():  # which fills the caches
        data, encoder, encoded = _read_and_encode(config, pack)
    config, data = with_objective(config, data)

    seed_everything(config["seed"], config["threads"])
    made = build(config["model"], schema=data.schema)
    classifier = plain.as_classifier(made, config["model"]["_target_"], data.schema)
    check_attention(attention, classifier.model.config)
    fingerprint = _once(
        None if classifier.is_random else pack,
        ["weights", config["model"], classifier.fresh_modules],
        lambda: weights_fingerprint(classifier.model, classifier.fresh_modules),
    )
    logger.info("model      %s; fresh: %s", classifier.name, ", ".join(classifier.fresh_modules) or "nothing")
    if classifier.note:
        logger.info("           %s", classifier.note)

    short = None
    if weights:
        adapted = adapters.reattach(classifier, weights)
    else:
        adapted = adapters.attach(classifier, _method(config["peft"]))
        _describe(adapted, config)
        if short := shortage(adapted, encoded, config):
            logger.warning("           %s", short)
    check_fits(encoder, adapted)
    among = recorded_speedups(speedups_of) if speedups_of else None
    # A config from before there were speed-ups has no such key.
    choice = config.get("speedups", "none")
    was_alone = among is not None and PACKED not in among
    reason = "" if pack is None or was_alone else reason_to_train_alone(adapted, config)
    if reason:
        logger.info("packed     this trial trains alone: %s", reason)
    if pack is not None and not was_alone and not reason:
        faster: tuple[str, ...] = (PACKED,)
    else:
        faster = speedups.apply(adapted.model, choice, among, can_record=can_record(config["trainer"]))
    logger.info("speed-ups  %s", ", ".join(faster) or "none")
    fingerprints = {
        "data": data.fingerprint(),
        **({"data_revision": data.revision} if data.revision else {}),
        "tokenizer": _once(
            pack, ["tokenizer", config["tokenizer"], data.schema.problem_type], encoder.fingerprint
        ),
        "model": {"name": classifier.name, "revision": classifier.revision, "weights": fingerprint},
    }
    return Prepared(config, data, encoder, encoded, classifier, adapted, faster, fingerprints, pack, short)


def reason_to_train_alone(adapted: Adapted, config: dict[str, Any]) -> str:
    """Say why a trial can't be trained together with others, or nothing where it can."""
    from finesweep.training.packs import reason_against

    choice = config.get("speedups", "none")
    if choice != "auto":
        return f"speedups={choice} was asked for"
    return reason_against(adapted.model, config["trainer"])


def _method(node: dict[str, Any]) -> Any:
    """Build a method's config; what peft refuses about it is the user's to mend."""
    try:
        return build(with_listed_targets(node))
    except FinesweepError:
        raise
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(Fault("peft", f"{node['_target_']} refuses it: {error}")) from error


def _describe(adapted: Adapted, config: dict[str, Any]) -> None:
    size = console.size_text(adapted.saved_bytes)
    logger.info("adapter    trains %s; %s to save", describe_size(adapted), size)
    if adapted.matched:
        logger.info("           on %s", console.describe_counts(adapted.matched))
    logger.info("memory     %s", estimated_memory(adapted, config))


def _once(pack: Packing | None, key: Any, make: Callable[[], Any]) -> Any:
    """Make what a trial needs, or take it from the others of its pack."""
    return make() if pack is None else pack.once(key, make)


def _read_and_encode(config: dict[str, Any], pack: Packing | None) -> tuple[TextData, TextEncoder, Encoded]:
    of_data = [config["data"], config["seed"]]
    data: TextData = _once(pack, ["data", of_data], lambda: build(config["data"]))
    notes = "".join(f"; {note}" for note in data.notes)
    labels = f"{len(data.schema.names)} labels" if data.schema.values else f"target {data.schema.names[0]}"
    logger.info("data       %s; %s%s", split_sizes(data.splits), labels, notes)
    for warning in data.warnings:
        logger.warning("           %s", warning)

    def made() -> tuple[TextEncoder, Encoded]:
        encoder: TextEncoder = build(config["tokenizer"])
        return encoder, encoder.encode(data.splits)

    encoder, encoded = _once(pack, ["tokens", config["tokenizer"], of_data], made)
    cached = " (from the cache)" if encoded.from_cache else ""
    note = truncation_note(encoded, encoder.max_length)
    level = logging.WARNING if truncation_warnings(encoded, encoder.max_length) else logging.INFO
    logger.log(level, "tokenizer  %s%s", note, cached)
    for warning in unknown_warnings(encoded):
        logger.warning("           %s", warning)
    return data, encoder, encoded
