"""The insides of other libraries that finesweep leans on: an upgrade that moves them fails here first."""

import copy
import json
from multiprocessing.connection import Listener

import optuna
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf
from optuna.samplers import _cmaes
from optuna.trial import create_trial
from transformers import AutoModelForSequenceClassification, TrainerCallback, TrainingArguments

from finesweep.config import hydra_insides
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.config.hydra_versions import register_resolver, without_environment
from finesweep.config.omegaconf_insides import EndlessInterpolation, bound_interpolations, full_key
from finesweep.config.saved import to_yaml
from finesweep.models import transformers_insides
from finesweep.sweeps import optuna_insides
from finesweep.system.multiprocessing_insides import limit_waiting
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import config_folder
from finesweep.system.signatures import locate
from finesweep.training.trainer_insides import OpenTrainer, num_processes
from tiny import make_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("insides") / "bert", "bert")


@pytest.fixture
def model(saved):
    return AutoModelForSequenceClassification.from_pretrained(saved, num_labels=3)


@pytest.fixture
def folders(tmp_path):
    """Return a folder of configs and one that stands in front of it."""
    for name in ("own", "added"):
        (tmp_path / name / "kind").mkdir(parents=True)
        (tmp_path / name / "train.yaml").write_text(f"from: {name}\nsize: 1\n")
    return str(tmp_path / "own"), str(tmp_path / "added")


def test_hydra_s_parser_reads_options_and_overrides_in_any_order():
    given = hydra_insides.read_options(["a=1", "-m", "--config-dir", "here", "b=2", "--config-n", "other"])
    assert (given.overrides, given.multirun, given.config_dir) == (["a=1", "b=2"], True, "here")
    assert (given.config_name, given.config_path, given.experimental_rerun) == ("other", None, None)


def test_hydra_takes_a_folder_in_front_of_another(folders):
    own, added = folders
    with hydra_at(own, None):
        assert compose_named("train", [])["from"] == "own"
    with hydra_at(own, added):
        assert compose_named("train", [])["from"] == "added"


def test_hydra_composes_as_its_command_line_does(folders):
    with hydra_at(folders[0], None):
        config = hydra_insides.compose_as_main("train", ["size=2,3"], multirun=True)
        single = hydra_insides.compose_as_main("train", ["size=2"], multirun=False)
        with pytest.raises(HydraException, match="multirun"):
            hydra_insides.compose_as_main("train", ["size=2,3"], multirun=False)
    assert (config.size, list(config.hydra.overrides.task)) == (1, ["size=2,3"])
    assert single.size == 2


def test_hydra_launches_and_sweeps_with_what_finesweep_takes_for_its_own(folders):
    with hydra_at(folders[0], None):
        hydra = compose_named("train", []).hydra
    assert hydra.launcher._target_ == hydra_insides.BASIC_LAUNCHER
    assert hydra.sweeper._target_ == hydra_insides.BASIC_SWEEPER
    assert all(map(locate, (hydra_insides.BASIC_LAUNCHER, hydra_insides.BASIC_SWEEPER)))


def test_hydra_lists_no_choice_that_is_hidden():
    hydra_insides.hide_choices(FOREIGN_SWEEPS)
    with hydra_at(str(config_folder()), None):
        listed = GlobalHydra.instance().config_loader().get_group_options("sweeps")
    assert "lora" in listed
    assert not set(listed) & set(FOREIGN_SWEEPS)


def test_hydra_keeps_the_error_of_a_job():
    error = KeyError("x")
    assert hydra_insides.error_of(JobReturn(status=JobStatus.FAILED, _return_value=error)) is error


def test_omegaconf_tells_a_resolver_where_its_node_stands():
    register_resolver("insides.where", lambda *, _node_: full_key(_node_))
    config = OmegaConf.create({"a": {"b": ["${insides.where:}"]}})
    assert config.a.b[0] == "a.b[0]"


def test_omegaconf_refuses_interpolations_that_never_end_and_counts_for_each_value():
    bound_interpolations()
    config = OmegaConf.create({f"a{i}": f"${{a{i + 1}}}${{a{i + 1}}}" for i in range(30)} | {"a30": "x"})
    with pytest.raises(EndlessInterpolation, match="repeat each other"):
        _ = config.a0
    for _ in range(400):
        assert config.a29 == "xx"
    config = OmegaConf.create({"text": "x" * 900_000, "twice": "${text}${text}"})
    with pytest.raises(EndlessInterpolation):
        _ = config.twice


def test_omegaconf_s_yaml_is_read_as_it_was_written():
    values = {"next line": "a\x85b", "number": "1e3", "word": "yes", "plain": "a b"}
    written = to_yaml(values)
    assert OmegaConf.to_container(OmegaConf.create(written)) == values
    rest = {key: value for key, value in values.items() if key != "next line"}
    assert to_yaml(rest) == written.partition("\n")[2] == OmegaConf.to_yaml(OmegaConf.create(rest))


def test_omegaconf_s_environment_is_answered_anew_and_again_as_before(monkeypatch):
    monkeypatch.setenv("INSIDES", "set")
    config = OmegaConf.create({"a": "${oc.env:INSIDES}"})
    with without_environment(lambda name: f"outer {name}"):
        with without_environment(lambda name: f"inner {name}"):
            assert config.a == "inner INSIDES"
        assert config.a == "outer INSIDES"
    assert config.a == "set"


def test_optuna_s_cache_reads_a_finished_trial_once(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    cached = optuna_insides.with_cache(storage)
    study = optuna.create_study(storage=cached)
    assert optuna_insides.storage_of(study) is cached
    study.add_trial(create_trial(value=1.0))
    first, second = (study.get_trials(deepcopy=False)[0] for _ in range(2))
    assert first is second
    memory = optuna.storages.InMemoryStorage()
    assert optuna_insides.with_cache(memory) is memory


def test_optuna_s_list_for_one_trial_s_time_is_dropped():
    study = optuna.create_study()
    assert study._get_trials(deepcopy=False, use_cache=True) == []
    study.add_trial(create_trial(value=1.0))
    assert study._get_trials(deepcopy=False, use_cache=True) == []  # it still stands
    optuna_insides.forget_trials(study)
    assert len(study._get_trials(deepcopy=False, use_cache=True)) == 1


def test_optuna_s_samplers_see_the_bracket_of_a_hyperband_trial():
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3)
    study = optuna.create_study(pruner=pruner)
    for _ in range(8):
        trial = study.ask()
        trial.should_prune()
        study.tell(trial, 1.0)
    last = study.trials[-1]
    seen = optuna_insides.seen_by_sampler(study, last).get_trials(deepcopy=False)
    assert 0 < len(seen) < 8
    plain = optuna.create_study()
    assert optuna_insides.seen_by_sampler(plain, last) is plain


def test_optuna_s_cma_es_reads_its_pickles_with_our_function(monkeypatch):
    monkeypatch.setattr(_cmaes, "pickle", _cmaes.pickle)  # is as before afterwards
    read = []
    own = _cmaes.pickle.loads
    optuna_insides.read_optimizers_with(lambda content: read.append(content) or own(content))
    study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=12)
    assert read


def test_transformers_says_which_attention_a_model_has(model):
    assert transformers_insides.attention_of(model) == "sdpa"
    model.set_attn_implementation("eager")
    layer = model.base_model.encoder.layer[-1].attention.self
    assert transformers_insides.attention_of(model) == transformers_insides.attention_of(layer) == "eager"


def test_transformers_draws_a_loaded_layer_anew_and_no_other(model, tmp_path):
    model.save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    before = copy.deepcopy(model.state_dict())
    model.classifier.bias.data.fill_(7.0)
    transformers_insides.draw_anew(model, model.classifier)
    after = model.state_dict()
    changed = [name for name, weight in after.items() if not torch.equal(weight, before[name])]
    assert changed == ["classifier.weight"]
    assert 0.5 < model.classifier.weight.std() / model.config.initializer_range < 2
    assert not model.classifier.bias.any()


def test_transformers_tells_weights_that_decay_from_biases_and_norms(model):
    names = transformers_insides.decaying_names(model)
    assert {name.rpartition(".")[2] for name in names} == {"weight"}
    assert "classifier.weight" in names
    assert not any("LayerNorm" in name for name in names)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_transformers_layers_can_be_computed_for_their_first_token(model, attention):
    model.set_attn_implementation(attention)
    model.eval()
    layer, hidden = model.base_model.encoder.layer[-1], torch.randn(2, 5, 32)
    whole = layer(hidden)
    first = transformers_insides.first_token_forward(layer, hidden)
    torch.testing.assert_close(
        first, (whole if torch.is_tensor(whole) else whole[0])[:, :1], atol=1e-5, rtol=0
    )


class Recording(OpenTrainer, TrainerCallback):
    """Note what the Trainer asks, and where it saves."""

    ends, start = False, None

    def has_ended(self):
        if self.start:
            self.window, self.start = self.start, None
        return self.ends

    def keep_checkpoint(self, save):
        self.args.output_dir += "/staged"
        save()
        self.kept = self.window


@pytest.fixture
def trainer(model, tmp_path):
    rows = [{"input_ids": [101, 7, 102], "labels": i % 3} for i in range(8)]
    args = TrainingArguments(
        str(tmp_path), max_steps=2, logging_steps=2, save_steps=1, per_device_train_batch_size=4,
        report_to="none", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    return Recording(model=model, args=args, train_dataset=rows)  # type: ignore[arg-type]


def test_the_trainer_asks_before_an_epoch_whether_there_is_anything_to_do(trainer):
    trainer.ends = True
    trainer.train()
    assert trainer.state.global_step == 0


def test_the_trainer_saves_where_it_is_told_with_all_that_it_goes_on_from(trainer, tmp_path):
    trainer.train()
    checkpoint = tmp_path / "staged" / "checkpoint-1"
    names = {file.name for file in checkpoint.iterdir()}
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json", "model.safetensors"} <= names
    assert num_processes(checkpoint) == 1
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 1


def test_the_trainer_s_loss_since_the_last_log_is_read_and_set(trainer):
    trainer.start = (torch.tensor(100.0), 0)
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert 50 < logged[0] < 53  # of two steps
    loss, step = trainer.kept
    assert (float(loss), step) == (0.0, 2)


def test_a_listener_stops_waiting(tmp_path):
    with Listener(str(tmp_path / "socket"), "AF_UNIX") as listener:
        limit_waiting(listener, 0.01)
        with pytest.raises(TimeoutError):
            listener.accept()
