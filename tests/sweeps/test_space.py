"""Axes in Hydra's grammar and in the official sweeper's mappings; what can't be an axis is refused."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.errors import ConfigError
from finesweep.sweeps.space import read_space, to_override, value_on


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("2,4,8", CategoricalDistribution([2, 4, 8])),
        ("choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("true,false,null", CategoricalDistribution([True, False, None])),
        ("[query,value],[query]", CategoricalDistribution(["[query,value]", "[query]"])),
        ("'a b',c", CategoricalDistribution(["'a b'", "c"])),
        ("interval(0,0.3)", FloatDistribution(0, 0.3)),
        ("int(interval(1,64))", IntDistribution(1, 64)),
        ("tag(log,interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True)),
        ("tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(1,9,2)", IntDistribution(1, 7, step=2)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("range(0.3,0.6,0.1)", FloatDistribution(0.3, 0.5, step=0.1)),
        ("range(0.5,0,-0.2)", FloatDistribution(0.1, 0.5, step=0.2)),
        ("range(4)", IntDistribution(0, 3)),
    ],
)
def test_every_form_of_the_grammar_is_an_axis_on_the_command_line_and_in_a_file(text, axis):
    assert read_space([f"key={text}"], None).axes == {"key": axis}
    assert read_space([], {"key": text}).axes == {"key": axis}


@pytest.mark.parametrize(
    ("mapping", "axis"),
    [
        ({"type": "categorical", "choices": [1, 2]}, CategoricalDistribution([1, 2])),
        ({"type": "int", "low": 1, "high": 9, "step": 2}, IntDistribution(1, 9, step=2)),
        ({"type": "float", "low": 0.1, "high": 1.0, "log": True}, FloatDistribution(0.1, 1.0, log=True)),
        ([16, 32], CategoricalDistribution([16, 32])),
    ],
)
def test_mappings_and_lists_in_a_file_are_axes_too(mapping, axis):
    assert read_space([], {"key": mapping}).axes == {"key": axis}


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        (["a=interval(3,1)"], None, r"a\n[\s\S]*`low <= high` must hold, but got \(low=3\.0, high=1\.0\)"),
        ([], {"a": {"type": "int", "low": 3, "high": 1}}, "low <= high"),
        ([], {"a": {"type": "integer", "low": 3, "high": 1}}, "categorical, int or float"),
        ([], {"a": "7"}, "single value, not an axis"),
        (["a=range(5,1)"], None, "start < stop"),
    ],
)
def test_an_axis_that_can_t_work_is_refused(arguments, params, message):
    with pytest.raises(ConfigError, match=message):
        read_space(arguments, params)


def test_the_command_line_goes_before_the_file():
    space = read_space(["a=1,2", "b=7", "c=x"], {"a": "3,4", "b": "5,6", "d": "8,9"})
    assert space.axes == {"a": CategoricalDistribution([1, 2]), "d": CategoricalDistribution([8, 9])}
    assert space.fixed == ("b=7", "c=x")


def test_finite_spaces_have_a_size_and_points():
    space = read_space(["a=1,2", "b=range(0,3)"], None)
    assert space.size() == 6
    assert len(space.points()) == 6
    assert {"a": 2, "b": 1} in space.points()
    assert read_space(["a=1,2", "b=interval(0,1)"], None).size() is None
    with pytest.raises(ConfigError, match="continuous"):
        read_space(["b=interval(0,1)"], None).points()


@pytest.mark.parametrize(
    "axis", ["1,2,5", "int(interval(3,9))", "range(1,9,3)", "range(0,1,0.1)", "range(0.5,0,-0.2)", "range(4)"]
)
def test_an_axis_has_as_many_points_as_it_is_counted(axis):
    space = read_space([f"a={axis}"], None)
    assert space.size() == len(space.points())


def test_a_wide_axis_is_counted_without_making_its_values():
    assert read_space(["a=int(interval(0,1000000000000000))", "b=1,2"], None).size() == 2 * (10**15 + 1)


def test_the_points_of_a_stepped_range_are_the_numbers_that_were_meant():
    space = read_space(["a=range(0,0.75,0.1)"], None)
    assert [point["a"] for point in space.points()] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("axis", "value", "own"),
    [
        ("2,4", 4, 4),
        ("0.5,1", 1.0, 1),
        ("lora,none", "lora", "lora"),
        ("'a b',c", "a b", "'a b'"),
        ("[query,value],[query]", ["query", "value"], "[query,value]"),
        ("null,3", None, None),
        ("range(0,0.5,0.1)", 0.3, 0.3),
        ("interval(0,1)", 1, 1),
    ],
)
def test_a_config_s_value_is_found_on_its_axis(axis, value, own):
    assert value_on(read_space([f"key={axis}"], None).axes["key"], value) == own


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("2,4", 3),
        ("1,2", True),
        ("lora,none", None),
        ("interval(0,1)", 1.5),
        ("interval(0,1)", True),
        ("interval(0,1)", "0.5"),
        ("range(0,0.5,0.1)", 0.25),
    ],
)
def test_a_value_beside_its_axis_is_not(axis, value):
    with pytest.raises(ValueError, match=r"^$"):
        value_on(read_space([f"key={axis}"], None).axes["key"], value)


@pytest.mark.parametrize("value", [1, 0.25, 1e-05, True, None, "text", "[query,value]", "'a b'"])
def test_a_value_comes_back_from_its_override(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(to_override("key", value))
    expected = (
        {"[query,value]": ["query", "value"], "'a b'": "a b"}.get(value, value)
        if isinstance(value, str)
        else value
    )
    assert parsed.value() == expected


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
@example("Title, short")
@example("a=b")
@example("{curly}")
@example("É")
@example("null")
@example("1")
@example("")
@example("[a]")
@example("it's")
@example("C:\\new\\")
def test_a_list_of_texts_in_a_file_is_a_list_of_texts(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assume("${" not in text)  # an interpolation
    axis = read_space([], {"key": [text, f"{text}!"]}).axes["key"]
    assert isinstance(axis, CategoricalDistribution)
    for choice, expected in zip(axis.choices, (text, f"{text}!"), strict=True):
        assert OverridesParser.create().parse_override(to_override("key", choice)).value() == expected
        assert value_on(axis, expected) == choice
