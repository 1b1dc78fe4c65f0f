"""The insides of other libraries that finesweep leans on: an upgrade that moves them fails here first."""

import copy
import json
import math
from multiprocessing.connection import Listener

import optuna
import peft
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.samplers import _cmaes
from optuna.trial import TrialState, create_trial
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, TrainerCallback, TrainingArguments

from finesweep.config import hydra_insides
from finesweep.config.hydra_session import compose_named, hydra_at
from finesweep.config.hydra_versions import register_resolver, without_environment
from finesweep.config.omegaconf_insides import EndlessInterpolation, bound_interpolations, full_key
from finesweep.config.saved import to_yaml
from finesweep.models import peft_insides, transformers_insides
from finesweep.sweeps import optuna_insides
from finesweep.sweeps import optuna_tables_insides as tables
from finesweep.sweeps.changes import Change
from finesweep.system.accelerate_insides import processes_asked_for
from finesweep.system.multiprocessing_insides import limit_waiting
from finesweep.system.paths import FOREIGN_SWEEPS
from finesweep.system.places import config_folder
from finesweep.system.signatures import locate
from finesweep.training.trainer_insides import OpenTrainer, num_processes
from tiny import make_model

RUNNING, COMPLETE = TrialState.RUNNING, TrialState.COMPLETE


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


def test_optuna_s_tables_tell_of_a_trial_without_all_of_it(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage)
    ended = create_trial(value=0.5, user_attrs={"run_id": "a", "finalist": 3})
    for trial in (ended, create_trial(state=RUNNING)):
        study.add_trial(trial)
    ids = [trial._trial_id for trial in study.trials]
    lines = tables.outlines_in(storage.engine, study._study_id, [], newest=-1, attribute="finalist")
    assert [(one.number, one.state.name, one.value, one.user_attrs) for one in lines.values()] == [
        (0, "COMPLETE", 0.5, {"finalist": 3}),
        (1, "RUNNING", None, {}),
    ]
    few = tables.outlines_in(storage.engine, study._study_id, ids[:1], newest=ids[1], attribute="finalist")
    assert [*few] == ids[:1]


def test_what_is_written_into_optuna_s_tables_is_what_optuna_reads(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    study.add_trial(create_trial(values=[1.0, 2.0]))
    template = create_trial(state=RUNNING, user_attrs={"a": [1]}, system_attrs={"b": {"c": None}})
    trial_id, number = tables.make_in(storage.engine, study._study_id, template, newest=-1, known=0)
    made = storage.get_trial(trial_id)
    assert (made.number, number, made.state) == (1, 1, RUNNING)
    assert (made.user_attrs, made.system_attrs) == (template.user_attrs, template.system_attrs)
    assert made.datetime_start == template.datetime_start

    axis, kind = optuna.distributions.FloatDistribution(0, 1), CategoricalDistribution(["p", "q"])
    params = {"x": (0.25, axis), "kind": (1.0, kind)}
    told = Change(params=params, reports={1: 0.5, 2: math.inf, 3: math.nan}, attributes={"a": 2, "d": "e"})
    assert tables.change_in(storage.engine, trial_id, told)
    assert tables.change_in(storage.engine, trial_id, Change(COMPLETE, [0.5, -math.inf], reports={1: 0.75}))
    ended = study.trials[1]
    assert (ended.params, ended.distributions) == ({"x": 0.25, "kind": "q"}, {"x": axis, "kind": kind})
    assert (ended.state, ended.values, ended.user_attrs) == (COMPLETE, [0.5, -math.inf], {"a": 2, "d": "e"})
    assert str(ended.intermediate_values) == "{1: 0.75, 2: inf, 3: nan}"
    assert ended.datetime_complete >= ended.datetime_start
    assert not tables.change_in(storage.engine, trial_id, Change(attributes={"a": 3}))
    assert study.ask().number == 2


def test_optuna_s_cache_has_a_trial_that_was_made_beside_it_and_the_distributions_of_its_study(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    cached = optuna_insides.with_cache(storage)
    study = optuna.create_study(storage=cached)
    trial_id = storage.create_new_trial(study._study_id)
    assert optuna_insides.known_distribution(cached, trial_id, "x") is None
    optuna_insides.remember_trial(cached, study._study_id, storage.get_trial(trial_id))
    trial = optuna.trial.Trial(study, trial_id)
    assert (
        optuna_insides.trial_id_of(trial) == trial_id == cached.get_trial_id_from_study_id_trial_number(1, 0)
    )
    trial.suggest_float("x", 0, 1)
    axis = optuna.distributions.FloatDistribution(0, 1)
    assert optuna_insides.known_distribution(cached, trial_id, "x") == axis


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore:`constraints_func` has been deprecated:FutureWarning")
def test_optuna_s_samplers_that_do_nothing_when_a_trial_ends_are_known():
    samplers, few = optuna.samplers, {"constraints_func": lambda trial: [0.0]}
    idle = [samplers.RandomSampler(), samplers.TPESampler(), samplers.GPSampler()]
    busy = [samplers.TPESampler(**few), samplers.GPSampler(**few), samplers.NSGAIISampler()]
    assert [optuna_insides.looks_at_ends(one) for one in (*idle, *busy)] == [False] * 3 + [True] * 3


def test_optuna_s_pruners_see_what_a_trial_s_handle_has_as_reports():
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.5))
    trial = study.ask()
    trial.report(0.25, 1)
    assert optuna_insides.record_of(trial).intermediate_values == {1: 0.25}
    assert not trial.should_prune()
    optuna_insides.record_of(trial).intermediate_values[2] = 0.75
    assert trial.should_prune()


def test_optuna_s_list_for_one_trial_s_time_is_dropped():
    study = optuna.create_study()
    assert study._get_trials(deepcopy=False, use_cache=True) == []
    study.add_trial(create_trial(value=1.0))
    assert study._get_trials(deepcopy=False, use_cache=True) == []  # it still stands
    optuna_insides.forget_trials(study)
    assert len(study._get_trials(deepcopy=False, use_cache=True)) == 1


def test_optuna_s_samplers_see_the_bracket_of_a_hyperband_trial():
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3)
    study = optuna.create_study(study_name="brackets", pruner=pruner)  # the name decides who is in which
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


@pytest.mark.parametrize("always_masked", [False, True])
def test_transformers_calls_an_attention_of_ours_with_masks_and_keywords(model, always_masked):
    model.eval()
    ids = torch.randint(5, 999, (2, 6))
    full, padded = torch.ones_like(ids), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    expected = [model(input_ids=ids, attention_mask=mask).logits for mask in (full, padded)]
    seen = []

    def attend(module, query, key, value, attention_mask, layout=None, **kwargs):
        seen.append((attention_mask, layout))
        return transformers_insides.sdpa_attention(module, query, key, value, attention_mask, **kwargs)

    transformers_insides.register_attention("insides", attend, always_masked=always_masked)
    model.set_attn_implementation("insides")
    for mask, logits in zip((full, padded), expected, strict=True):
        torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, logits)
    without_padding, with_padding = seen[0][0], seen[-1][0]
    assert torch.equal(with_padding, padded[:, None, None, :].bool().expand(2, 1, 6, 6))
    assert torch.equal(without_padding, torch.ones_like(with_padding)) if always_masked else not seen[0][0]
    ready, layout = padded[:, None, None, :].bool(), object()
    logits = model(input_ids=ids, attention_mask=ready, layout=layout).logits
    torch.testing.assert_close(logits, expected[1])
    assert seen[-1][0] is ready
    assert seen[-1][1] is layout


def test_transformers_counts_positions_without_the_padding_where_roberta_does(model, tmp_path):
    assert transformers_insides.position_ids_of(model.base_model, torch.tensor([[5, 6]])) is None
    saved = make_model(tmp_path / "roberta", "roberta")
    roberta = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, roberta.config.pad_token_id, roberta.config.pad_token_id]])
    positions = transformers_insides.position_ids_of(roberta.base_model, ids)
    first = roberta.base_model.embeddings.padding_idx + 1
    assert positions.tolist() == [
        [first, first + 1, first + 2, first + 3],
        [first, first + 1, first - 1, first - 1],
    ]
    assert torch.equal(roberta(ids).logits, roberta(ids, position_ids=positions).logits)


def test_transformers_groups_rows_by_length():
    lengths = [int(length) for length in torch.randint(1, 99, (101,), generator=torch.Generator())]
    order = transformers_insides.grouped_by_length(lengths, 4, torch.Generator().manual_seed(0))
    assert sorted(order) == list(range(101))
    assert lengths[order[0]] == max(lengths)
    spreads = [
        max(batch) - min(batch) for batch in zip(*[iter(lengths[row] for row in order)] * 4, strict=False)
    ]
    assert sum(spreads) / len(spreads) < 30


@pytest.fixture
def adapted(model):
    config = peft.LoraConfig(target_modules=["query"], r=2, modules_to_save=["classifier"])
    return peft.get_peft_model(model, config)


def test_peft_s_names_lead_back_to_those_of_the_model(saved, adapted):
    own = AutoModelForSequenceClassification.from_pretrained(saved, num_labels=3).state_dict().keys()
    names = adapted.get_base_model().state_dict().keys()
    heads = {name for name in own if name.startswith("classifier.")}
    originals = [original for name in names if (original := peft_insides.original_name(name))]
    assert len(originals) == len(own)
    assert set(originals) == own
    first = {name for name in names if peft_insides.is_first_copy(name)}
    trained = {name for name in names - first if name.startswith("classifier.")}
    assert {peft_insides.plain_name(name) for name in trained} == heads
    assert len(first) == len(heads)
    named = dict(adapted.get_base_model().named_modules())
    assert [name for name in named if peft_insides.is_first_copy(name)] == ["classifier.original_module"]


def test_peft_s_lora_is_known_by_its_layers(adapted, saved):
    other = AutoModelForSequenceClassification.from_pretrained(saved)
    found = {path: peft_insides.lora_layer_of(layer) for path, layer in adapted.named_modules()}
    loras = {path: lora for path, lora in found.items() if lora}
    assert {path.rpartition(".")[2] for path in loras} == {"query"}
    for path, lora in loras.items():
        assert isinstance(lora.frozen, torch.nn.Linear)
        assert (lora.scale, lora.dropout, lora.is_plain) == (8 / 2, 0.0, True)
        names = {f"{path}.lora_{matrix}{name}.weight" for matrix in "AB" for name in ("", ".default")}
        assert {peft_insides.lora_place(name) for name in names} == {(path, "lora_a"), (path, "lora_b")}
    copies = [peft_insides.trained_copy_of(layer) for layer in adapted.modules()]
    (head,) = [copy for copy in copies if copy is not None]
    assert all(weight.requires_grad for weight in head.parameters())
    dora = peft.LoraConfig(target_modules=["value"], use_dora=True)
    kinds = [peft_insides.lora_layer_of(layer) for layer in peft.get_peft_model(other, dora).modules()]
    assert [lora.is_plain for lora in kinds if lora] == [False, False]


def test_peft_says_which_part_of_a_whole_module_a_file_lacks(saved, adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    file = tmp_path / SAFETENSORS_WEIGHTS_NAME
    state = load_file(file)
    lacking = next(name for name in state if name.endswith("classifier.bias"))
    save_file({name: tensor for name, tensor in state.items() if name != lacking}, file)
    model = AutoModelForSequenceClassification.from_pretrained(saved, num_labels=3)
    with pytest.raises(KeyError) as caught:
        peft.PeftModel.from_pretrained(model, str(tmp_path))
    assert peft_insides.lacking_part(caught.value) == lacking


def test_peft_puts_a_prompt_in_its_place_though_it_says_that_there_is_none(model):
    config = peft.PromptTuningConfig(task_type=peft.TaskType.SEQ_CLS, num_virtual_tokens=2)
    adapted = peft.get_peft_model(model, config)
    state = {name: tensor + 1 for name, tensor in peft.get_peft_model_state_dict(adapted).items()}
    found = peft.set_peft_model_state_dict(adapted, {**state, "foreign": torch.zeros(1)})
    assert peft_insides.without_place(found) == {"foreign"}
    assert set(found.unexpected_keys) == {"foreign", "prompt_embeddings"}
    now = peft.get_peft_model_state_dict(adapted)
    assert torch.equal(now["prompt_embeddings"], state["prompt_embeddings"])


def test_peft_s_adalora_takes_ranks_and_goes_on_from_its_averages(model):
    config = peft.AdaLoraConfig(
        target_modules=["query"], init_r=4, target_r=2, total_step=9, tinit=1, tfinal=2, deltaT=1
    )
    adapted = peft.get_peft_model(model, config)
    values = {name: p for name, p in adapted.base_model.model.named_parameters() if "lora_E" in name}
    for value in values.values():
        value.data.normal_()

    def averages():
        return peft_insides.rank_averages(adapted)

    def take(step):
        adapted.zero_grad()
        adapted(input_ids=torch.tensor([[5, step, 7]]), labels=torch.tensor([step % 3])).loss.backward()
        return peft_insides.take_ranks(adapted, step)

    assert not any(averages().values())
    assert take(1) is None
    assert {len(average) for average in averages().values()} == {6}  # three parts in each of two layers
    before = copy.deepcopy(averages())
    kept = take(2)
    peft_insides.set_rank_averages(adapted, before)
    assert take(2) == kept
    counts = [sum(map(sum, take(step).values())) for step in range(3, 8)]
    assert counts[-1] == 4 == min(counts)
    assert adapted.active_peft_config.rank_pattern is None
    assert not any(averages().values())
    for value in values.values():
        value.data.fill_(1.0)
    peft_insides.keep_ranks(adapted, kept)
    assert {name: value.flatten().bool().tolist() for name, value in values.items()} == kept


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


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--cpu", "train.py", "--num_processes", "3"], 1),
        (["--cpu", "--num_processes", "2", "train.py", "peft=lora"], 2),
        (["--config_file", "FILE", "-m", "finesweep"], 4),
        (["--config_file", "FILE", "--num_processes", "2", "train.py"], 2),
    ],
)
def test_accelerate_launch_is_asked_for_processes(tmp_path, words, count):
    settings = "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 4\n"
    (tmp_path / "config.yaml").write_text(settings)
    assert processes_asked_for([str(tmp_path / "config.yaml") if w == "FILE" else w for w in words]) == count


def test_a_listener_stops_waiting(tmp_path):
    with Listener(str(tmp_path / "socket"), "AF_UNIX") as listener:
        limit_waiting(listener, 0.01)
        with pytest.raises(TimeoutError):
            listener.accept()
