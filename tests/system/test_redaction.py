"""Secrets are masked by name and by value, where a secret comes from is not, and nothing else is touched."""

import io
import logging
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from finesweep.config.saved import read_config
from finesweep.errors import Fault
from finesweep.runs.layout import RunFolder
from finesweep.system.places import config_folder
from finesweep.system.redaction import (
    MASK,
    RedactingFormatter,
    masked,
    redact,
    redact_code,
    redact_label,
    redact_tracebacks,
    remember,
)
from finesweep.system.redaction.known import environment_secrets
from finesweep.system.redaction.names import is_secret_name
from finesweep.system.redaction.streams import RedactingHook, RedactingStream
from finesweep.system.redaction.words import masked_words

SECRET = "canary-of-the-environment"
SECRET_NAMES = """
    token hub_token HFToken MY_TOKEN api_key apiKey apikey WANDB_API_KEY access_key AWS_SECRET_ACCESS_KEY
    private-key password db_password PASSWORD2 dbpassword passwd DB_PWD passphrase pass MY_PASS secret
    client_secret_prod credential credentials auth basic_auth authorization api_tokens account_key
"""
OTHER_NAMES = """
    pad_token mask_token sep_token cls_token unk_token bos_token max_tokens num_virtual_tokens tokens
    tokenizer TOKENIZER_DIR TOKENIZERS_PARALLELISM token_type_ids pad_token_id key keys DATASET_KEY
    public_key monkey MONKEY KEYBOARD_LAYOUT label_column password_column password_file token_url
    auth_method author passes compass bypass secretary SSH_AUTH_SOCK secret_name
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_secret_s_name_is_told_by_its_words(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_a_name_that_only_looks_like_a_secret_s_is_none(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MY_PASS", "two words"),
        ("HF_TOKEN", "abcdefghijklm"),
        ("SECRET", "canary-of-the-environment"),
        ("STRIPE_KEY", "a1b2c3d4e5f6a7b8"),
    ],
)
def test_what_looks_like_a_secret_under_a_secret_s_name_is_masked(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redact(f"it is {value}.") == f"it is {MASK}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATASET_KEY", "bbc-news"),
        ("API_TOKEN", "bbc-news"),
        ("DATASET_KEY", "imdb-2011-large-movie"),
        ("TOKENIZER_DIR", "/some/folder"),
        ("SSH_KEY", "/some/folder/id_rsa"),
        ("MY_PASS", "short"),
        ("MY_PASS", "sentiment"),
        ("MY_PASS", "20260101"),
        ("MONKEY", "canary-that-sings"),
        ("KEYBOARD_LAYOUT", "de-latin1-nodeadkeys"),
        ("TOKENIZERS_PARALLELISM", "false-or-true"),
    ],
)
def test_what_is_no_secret_in_the_environment_masks_nothing(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert value not in environment_secrets()
    assert masked({"name": f"{value}/x"}) == {"name": f"{value}/x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key={SECRET}", "key=***"),
        (
            "postgresql+psycopg2://me:canary@host:5432/studies",
            "postgresql+psycopg2://me:***@host:5432/studies",
        ),
        ("postgresql://me:${oc.env:PASS}@host/studies", "postgresql://me:${oc.env:PASS}@host/studies"),
        ("postgresql://me:${oc.env:PASS}canary@host/studies", "postgresql://me:***@host/studies"),
        ("pg://${oc.env:ME}:${oc.env:PASS}@${oc.env:HOST}:1/x",) * 2,
        ("pg://${oc.env:ME}:canary@${oc.env:HOST}/x", "pg://${oc.env:ME}:***@${oc.env:HOST}/x"),
        ("counts: pass=12, fail=3", "counts: pass=12, fail=3"),
        ("postgresql://me@host:5432/studies", "postgresql://me@host:5432/studies"),
        ("https://example.org:8080/path", "https://example.org:8080/path"),
        ("https://example.org:8080/~me@work", "https://example.org:8080/~me@work"),
        ("https://me:c@n/ary@host/x", "https://me:***@host/x"),
        ("http://a:b@c,http://d:e@f", "http://a:***@c,http://d:***@f"),
        ("redis://:canary@host", "redis://:***@host"),
        ("https://hf_canarycanarycanary01@host/x", "https://***@host/x"),
        ("https://host/x?a=1&token=canary&b=2", "https://host/x?a=1&token=***&b=2"),
        ("https://host/x.csv?sv=2022&sig=ca%2Bry%3D&sp=r", "https://host/x.csv?sv=2022&sig=***&sp=r"),
        ("https://host/x?X-Amz-Signature=0a1b2c&page=2", "https://host/x?X-Amz-Signature=***&page=2"),
        ("${oc.env:HF_TOKEN,canary}", "${oc.env:HF_TOKEN,'***'}"),
        ("${oc.env:DATA_DIR,/data}", "${oc.env:DATA_DIR,/data}"),
        ("Authorization: Bearer canary", "Authorization: Bearer ***"),
        ("trainer.hub_token = canary", "trainer.hub_token = ***"),
        ("mysql --password=canary -u me", "mysql --password=*** -u me"),
        ("--hub-token canary --epochs 3", "--hub-token *** --epochs 3"),
        ('{"hub_token": "ca\\"nary", "r": 1}', '{"hub_token": "***", "r": 1}'),
        ("max_tokens=5 pad_token=[PAD]", "max_tokens=5 pad_token=[PAD]"),
        ("Did you mean the token: cls?", "Did you mean the token: cls?"),
        ("def f(token: str, password=None)", "def f(token: str, password=None)"),
        ("password=os.environ['PASS'], token=self.token", "password=os.environ['PASS'], token=self.token"),
    ],
)
def test_passwords_are_masked_and_interpolations_kept(monkeypatch, text, expected):
    monkeypatch.setenv("STUDY_TOKEN", SECRET)
    assert redact(text) == expected


def test_a_value_under_a_secret_s_key_is_masked_whole_and_its_place_is_kept(tmp_path):
    (tmp_path / "id").touch()
    config = {
        "trainer": {"hub_token": "x", "max_tokens": 5, "pad_token": "[PAD]"},
        "mine": {"password": 73510042, "pass": 1, "auth": True, "api_key": "${oc.env:KEY}", "token": None},
        "credentials": {"user": "me", "type": "basic", "deep": [{"any": "y z"}], "_target_": "a.b"},
        "key_file": str(tmp_path / "id"),
        "private_key": str(tmp_path / "id"),
        "types": {"password": "string"},
        "class_weights": {"pass": 2000, "fail": 1.5},
        "dsn": "host=db password=canary user=me",
        "query": "select token from t where token=2 and pass=3",
    }
    hidden = masked(config)
    assert hidden["trainer"] == {**config["trainer"], "hub_token": MASK}
    assert hidden["mine"] == {**config["mine"], "password": MASK}
    assert hidden["credentials"] == {**config["credentials"], "deep": [{"any": MASK}]}
    assert hidden["dsn"] == "host=db password=*** user=me"
    same = ("key_file", "private_key", "types", "class_weights", "query")
    assert {key: hidden[key] for key in same} == {key: config[key] for key in same}


def test_a_typed_default_beside_a_secret_s_variable_is_no_reference():
    assert masked({"token": "${oc.env:A,canary}"}) == {"token": MASK}
    for reference in ("${oc.env:A}", "${oc.env:A,null}", "${oc.decode:${oc.env:A}}", "${a.b}"):
        assert masked({"token": reference}) == {"token": reference}
    assert masked({"token": "${oc.env:A}-canary"}) == {"token": MASK}


@given(st.text(), st.sampled_from(["", "+token=", "password: ", "a://b:c", "--hub-token ", "('auth', '"]))
def test_any_text_can_be_redacted_and_twice_is_once(text, start):
    for mask in (redact, redact_code, redact_label):
        once = mask(start + text)
        assert mask(once) == once


def test_no_shipped_config_holds_a_secret():
    files = list(config_folder().glob("**/*.yaml"))
    assert len(files) > 100
    for file in files:
        content = OmegaConf.to_container(OmegaConf.load(file))
        assert masked(content) == content


def test_the_words_of_a_command_line_lose_their_secrets_and_nothing_else():
    typed = {
        "peft=lora,none": "peft=lora,none",
        "peft.r=range(1,3)": "peft.r=range(1,3)",
        "+trainer.hub_token='a, b'": "+trainer.hub_token=***",
        "mine.credentials.deep=x": "mine.credentials.deep=***",
        "data.options={s3:{token:x,anon:True}}": "data.options={s3:{token:***,anon:True}}",
        "data.url='https://h/x?token=x&y=1'": "data.url='https://h/x?token=***&y=1'",
        "mine.password='unfinished": "mine.password=***",
        "~data": "~data",
        "tracker.tags=[a,'b c']": "tracker.tags=[a,'b c']",
    }
    assert masked_words(list(typed)) == list(typed.values())


SECRET_KEYS = ("hub_token", "api_key", "password", "MY_PASS")
texts = st.text(st.characters(codec="utf-8"), max_size=20).filter(
    lambda text: "$" not in text and text != MASK
)
keys = st.one_of(st.sampled_from(SECRET_KEYS), st.from_regex(r"[a-z]{1,8}(_[a-z]{1,8})?", fullmatch=True))
leaves = st.one_of(texts, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
configs = st.recursive(
    st.dictionaries(keys, leaves, max_size=4),
    lambda child: st.dictionaries(keys, child | leaves | st.lists(leaves, max_size=3), max_size=4),
    max_leaves=12,
)


def agrees(before, after, name=""):
    """Say whether two configs are equal but for masks, and a text under a secret's name is masked."""
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(agrees(before[key], after[key], key) for key in before)
    if isinstance(before, list):
        return len(before) == len(after) and all(map(agrees, before, after, [name] * len(before)))
    return after == before or (isinstance(after, str) and MASK in after)


@given(configs)
@example({"a": "\x85"})
def test_any_config_written_and_read_equals_itself_but_for_the_masks(tmp_path_factory, config):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    config = {name: value for name, value in config.items() if name not in ("defaults", "hydra")}
    folder.write_config(config, [])
    after = read_config(folder.config)
    assert after == masked(config)
    assert agrees(config, after)
    secrets = [v for k, v in config.items() if k in SECRET_KEYS and isinstance(v, str) and len(v) >= 8]
    plain = ("secretstr", "required")
    assert not [s for s in secrets if s in after.values() and s.lower().strip() not in plain and "/" not in s]


def test_messages_logs_and_tracebacks_hold_no_secret(monkeypatch, capsys):
    remember(['canary "typed"\nin-two-lines'])
    assert "canary" not in str(Fault("trainer.hub_token", "It must be a number.", "canary"))
    fault = Fault("data", 'The server says: no such key: canary "typed"', source="command line")
    assert "canary" not in str(fault)
    record = logging.makeLogRecord({"msg": "got %r", "args": ('canary "typed"\nin-two-lines',)})
    assert RedactingFormatter("%(message)s").format(record) == f"got '{MASK}'"
    stream = io.StringIO()
    print("second line: in-two-lines", file=RedactingStream(stream))
    assert stream.getvalue() == f"second line: {MASK}\n"
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    redact_tracebacks()
    assert isinstance(sys.excepthook, RedactingHook)
    sys.excepthook(ValueError, ValueError("in-two-lines"), None)
    assert capsys.readouterr().err == f"ValueError: {MASK}\n"


def test_a_tracker_s_label_shows_no_secret_however_short(monkeypatch):
    monkeypatch.setenv("MY_PASS", "abc")
    assert redact_label("abc") == MASK
    assert redact_label("run-abc") == f"run-{MASK}"
    assert redact_label("abcd") == "abcd"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("+HUB_TOKEN=two words", "+HUB_TOKEN=***"),
        ("+export HUB_TOKEN=canary", "+export HUB_TOKEN=***"),
        ("+os.environ['HUB_TOKEN'] = 'canary'", "+os.environ['HUB_TOKEN'] = '***'"),
        ("+client.hub_token = 'canary'", "+client.hub_token = '***'"),
        ("+config.set('password', 'canary')", "+config.set('password', '***')"),
        ("+<password>canary</password>", "+<password>***</password>"),
        ("+  hub_token: canary # of mine", "+  hub_token: ***"),
        ("-hub_token = 'canary'", "-hub_token = '***'"),
        ("+curl -H 'X-Api-Key: canary'", "+curl -H 'X-Api-Key: ***'"),
        ("+c = Client('cnRy0123canary4567abcd', 'name')", "+c = Client('***', 'name')"),
        ("+cnRy0123canary4567abcd", "+***"),
        ("+-----BEGIN PRIVATE KEY-----\n+cnRy\n+-----END PRIVATE KEY-----\n+x", "+***\n+x"),
        ("index 0a1b2c3d4e5f..9f8e7d6c5b4a 100644", "index 0a1b2c3d4e5f..9f8e7d6c5b4a 100644"),
        ("+tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased')", None),
        ("+load(token=settings.token, day='2026-01-01-at-noon', name='a-long-name-without-numbers')", None),
        ("+def load(token: str | None = None, password: str = os.environ['PASS']): ...", None),
        ("+    max_tokens=512, pad_token='[PAD]'", None),
    ],
)
def test_source_code_loses_its_secrets_and_stays_code(line, expected):
    assert redact_code(line) == (expected or line)


def test_a_long_diff_without_a_secret_stays_as_it_is():
    line = "+    weights = model(token_ids, mask)  # see https://example.org/a?b=c and 'a' = {key: value}\n"
    for text in (
        line * 2000,
        "+x = " + "ab+c" * 50_000,
        "a://b:" * 20_000,
        "a.b=c;" * 30_000,
        "ab-" * 60_000,
        "\n" * 3000,
    ):
        assert redact_code(text) == text
