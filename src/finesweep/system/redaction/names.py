"""Which names say that their value is a secret: keys of a config, environment variables, words before `=`."""

from __future__ import annotations

import re
from functools import lru_cache

# HFToken -> HF, Token; MY_PASS2 -> MY, PASS, 2
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# Wherever they stand: db_password_prod, client_secret
PLAIN = word_set("""
    password passwords passwd pswd passphrase passcode pwd pw secret secrets credential credentials cred creds
    authorization
""")
# Written together: dbpassword, apikey
ENDINGS = ("password", "passwd", "passphrase", "secret", "apikey", "secretkey", "accesskey", "privatekey",
           "authtoken", "accesstoken", "apitoken", "hubtoken", "hftoken")  # fmt: skip
# At a name's end alone: `basic_auth` is one, `auth_method` is none.
LAST = word_set("pass auth jwt pat sas cookie bearer")
# pad_token, max_tokens, next_token: a tokenizer's words, and counts.
TOKEN_ROLES = word_set("""
    pad mask sep cls unk bos eos boi eoi special extra image audio video start end first last word sub subword
    prefix suffix decoder encoder separator stop text label next per max min num n class query register ignore
    summary target source input output other added new
""")
TOKENS_OF = word_set("api access auth hub bearer refresh secret")
KEYS_OF = word_set("""
    api access secret private account shared encryption signing master ssh storage auth service license deploy
    client subscription session hmac rsa wandb openai anthropic hf azure google aws
""")
# What follows a secret's word and makes it something else: token_url, password_file, secret_name.
DESCRIBES = word_set("""
    file path dir directory folder url uri endpoint host name names id ids type kind method mode enabled
    length size count limit column columns field fields header env var variable sock socket ttl expiry expires
    required policy provider scope scopes dataset label labels hash user username
""")
# What follows it and changes nothing: api_key_prod, token_2.
STAGES = word_set("value prod production staging dev test main primary secondary old backup")
# Parameters of a URL's query that sign it.
SIGNATURES = frozenset(("sig", "signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token",
                        "x-goog-signature", "x-goog-credential"))  # fmt: skip


@lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Say whether a name's value is a secret whatever it looks like.

    The name is split into words at `_`, `-` and capitals, so that hub_token, apiKey and MY_PASS are secrets'
    names; tokenizer, pad_token, max_tokens, monkey and KEYBOARD_LAYOUT aren't.

    Args:
        name: a key, the last part of a dotted one, or an environment variable's name.
    """
    words = _words(name)
    if not words or words[-1] in DESCRIBES:
        return False
    *before, last = words
    qualifier = before[-1] if before else ""
    if last == "token":
        return qualifier not in TOKEN_ROLES
    if last == "tokens":
        return qualifier in TOKENS_OF
    if last in ("key", "keys"):
        return qualifier in KEYS_OF
    return last in LAST or any(word in PLAIN or word.endswith(ENDINGS) for word in words)


@lru_cache(4096)
def may_be_secret_name(name: str) -> bool:
    """Say whether a name's value is a secret if it looks like one: STRIPE_KEY may be, DATASET_KEY too."""
    words = _words(name)
    return bool(words) and words[-1] in ("key", "keys") and "public" not in words


def is_query_secret(name: str) -> bool:
    """Say whether a parameter of a URL's query is a secret: token, api_key, sig, X-Amz-Signature."""
    return name.lower() in SIGNATURES or is_secret_name(name)


def describes(name: str) -> bool:
    """Say whether a name only describes a secret beside it: type, file, name."""
    words = _words(name)
    return bool(words) and words[-1] in DESCRIBES


def counts(name: str) -> bool:
    """Say whether a small number under a secret's name is a count: a `pass`, of several."""
    return _words(name)[-1:] in (["pass"], ["token"], ["auth"])


def last_part(key: str) -> str:
    """Return the last part of a dotted key, without an index: `token` of `tracker.token[0]`."""
    return key.rpartition(".")[2].partition("[")[0].lstrip("+~")


def _words(name: str) -> list[str]:
    words = [word.lower() for word in WORD.findall(name)]
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in STAGES):
        words.pop()
    return words
