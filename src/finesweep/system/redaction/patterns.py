"""Secrets that can be told by their form: keys of known services, URLs, connection strings, assignments."""

from __future__ import annotations

import re

from finesweep.system.redaction.names import (
    is_query_secret,
    is_secret_name,
    last_part,
    may_be_secret_name,
    word_set,
)

MASK = "***"
LEAST_NUMBER = 1000  # `pass: 1` counts something
RUN_OF_LETTERS = re.compile(r"[A-Za-z0-9]{12,}")
SWITCH = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
KNOWN_FORMS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bhf_[A-Za-z0-9]{20,}"
    r"|\b(?:gh[pousr]|glpat|npm)[_-][A-Za-z0-9_-]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bsk-(?:ant|proj|or|svcacct)-[A-Za-z0-9_-]{16,}|\bsk-[A-Za-z0-9]{20,}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|\bwandb_v\d_[A-Za-z0-9_]{20,}|\bpypi-[A-Za-z0-9_-]{40,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}|\bxox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    re.DOTALL,
)
NOWHERE = r"\0"  # a character class that ends no URL
INTERPOLATION = r"\$\{[^{}]*\}"
INNERMOST = re.compile(r"\$\{[^{},]*(?:,(?P<default>[^{}]*))?\}")
# The default that stands beside an environment variable: ${oc.env:HF_TOKEN,hf_...}
TYPED_DEFAULT = re.compile(r"(\$\{oc\.env:\s*)(\w+)(\s*,)([^{}]*)(\})")
NO_DEFAULTS = ("", "null", "''", '""')
# Connection strings: host=db password=..., or User Id=me;Password=...;
CONNECTIONS = (
    re.compile(r"(?<![\w.])(?P<name>[\w.]+)=(?P<value>'(?:[^'\\]|\\.)*'|[^\s']*)(?P<end>\s+|$)"),
    re.compile(r"(?<![\w.])(?P<name>[\w.]+(?: [\w.]+)?)=(?P<value>[^;]*)(?P<end>;\s*|$)"),
)

QUOTED = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
# Authorization: Bearer ..., wherever it stands in a line.
HEADER = re.compile(
    r"(?i)((?:authorization|x-[\w\-]*(?:key|token|secret))[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token)\s+)?)[^\s\"',;]+"
)
NAME = r"(?<![\w.])(?P<name>[A-Za-z_][\w.\-]{0,99})"
ASSIGNMENT = re.compile(
    rf"{NAME}(?P<sep>[\"']?\]?\s*(?:=|:|=>|:=)\s*)(?P<value>[bru]?(?:{QUOTED}))"
    rf"|{NAME.replace('name', 'bare')}(?P<gap>\s?:?=\s?)(?P<word>[^\s\"',;&)\]}}>]+)"
    rf"|(?P<option>--[A-Za-z][\w\-]*)(?P<blank> )(?P<argument>[^\s\"'\-][^\s]*)"
)
# A line of YAML, of a header, or of a .env file in a diff; what follows the name is the value.
LINE = re.compile(rf"^(?P<head>[\s+\-#>|]*){NAME}(?P<sep>[\"']?:\s+)(?P<value>[^\s\"'\[{{].*)$", re.MULTILINE)
# HUB_TOKEN=..., all of its line
VARIABLE = re.compile(rf"^(?P<head>[\s+\-]*(?:export\s+)?){NAME}=(?P<value>[^\s\"'].*)$", re.MULTILINE)
# set("password", "..."), <password>...
PAIR_OF_LITERALS = re.compile(
    rf"(?:\([\"']{NAME}[\"'],\s*[\"']|<{NAME.replace('name', 'tag')}>)(?P<value>[^\"'<\n]+)"
)
# A literal, or a line, that is one long word.
LONG_LITERAL = re.compile(r"(?<=[\"'])[\w+/=.\-]{20,}(?=[\"'])|(?<=^[+\- ])[\w+/=.\-]{20,}$", re.MULTILINE)
CODE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|.*[\[(].*|[$<%{].*", re.DOTALL)
NO_VALUES = word_set("""
    none null nil true false yes no auto default basic bearer str int bool bytes float any optional list dict
    secretstr self required missing unset
""")


def looks_random(text: str) -> bool:
    """Say whether a text holds what nobody makes up: letters and digits in a row, in frequent turns."""
    return any(len(SWITCH.findall(run)) >= 3 for run in RUN_OF_LETTERS.findall(text))


def mask_forms(text: str) -> str:
    """Mask keys of known services and the secret parts of URLs."""
    text = KNOWN_FORMS.sub(MASK, text)
    text = TYPED_DEFAULT.sub(_default_masked, text)
    return _mask_urls(text, r"\s\"'<>") if "://" in text or "?" in text or "&" in text else text


def mask_value(text: str) -> str:
    """Mask what a config's text holds besides: it may be one URL, spaces and all, or a connection string."""
    text = mask_forms(text)
    if re.match(r"[\w+.\-]+://", text) and text.count("://") == 1:
        text = _mask_urls(text, NOWHERE)
    made_of = (pair for pair in CONNECTIONS if "=" in text and not pair.sub("", text))
    pair = next(made_of, None)
    return pair.sub(_pair_masked, text) if pair else text


def mask_assignments(text: str) -> str:
    """Mask what free text assigns to secrets' names: token="...", --password ..., `api_key: ...`."""
    text = LINE.sub(_line_masked, HEADER.sub(rf"\1{MASK}", text))
    return ASSIGNMENT.sub(_assignment_masked, text)


def mask_code(text: str) -> str:
    """Mask what source code, and files such as .env, have besides."""
    text = VARIABLE.sub(_line_masked, text)
    text = PAIR_OF_LITERALS.sub(_line_masked, text)
    return LONG_LITERAL.sub(lambda match: MASK if looks_random(match[0]) else match[0], text)


def is_reference(value: str) -> bool:
    """Say whether a text is one interpolation, and so says where its value is; a typed default is a value."""
    while found := INNERMOST.search(value):
        if (found["default"] or "").strip() not in NO_DEFAULTS:
            return False
        value = value.replace(found[0], "")
        if not value:
            return True
    return False


def _mask_urls(text: str, ends: str) -> str:
    """Mask passwords, tokens in a user's place, and secret parameters.

    Args:
        text: with URLs in it.
        ends: the characters at which a URL ends.
    """
    # Up to the last @, even where the password has signs that a URL would write otherwise; a port is none.
    before_query, anything = f"(?:(?!://)[^?#{ends}])", f"(?:(?!://)[^{ends}])"
    password = re.compile(
        rf"(?P<head>(?<![\w+.\-])[\w+.\-]+://(?:{INTERPOLATION}|[^:/?#@{ends}])*):"
        rf"(?:(?P<port>\d+(?=[/?#]))|(?P<secret>{before_query}+(?=@)|{anything}+(?=@))@)"
    )
    text = password.sub(_password_masked, text)
    text = re.sub(rf"(?<=://)(?P<secret>[^:/?#@{ends}]+)(?=@)", _user_masked, text)
    return re.sub(
        rf"(?P<head>[?&#;](?P<name>[\w.\-\[\]]+)=)(?P<secret>[^&#{ends}]+)", _parameter_masked, text
    )


def _password_masked(match: re.Match[str]) -> str:
    is_kept = match["port"] or is_reference(match["secret"])
    return match[0] if is_kept else f"{match['head']}:{MASK}@"


def _user_masked(match: re.Match[str]) -> str:
    return MASK if looks_random(match["secret"]) else match[0]


def _parameter_masked(match: re.Match[str]) -> str:
    return _masked_if_secret(match["name"], match["secret"], match["head"])


def _pair_masked(match: re.Match[str]) -> str:
    name = match["name"]
    return _masked_if_secret(name, match["value"], f"{name}=") + match["end"]


def _masked_if_secret(name: str, value: str, head: str) -> str:
    is_secret = is_query_secret(name) or (
        (may_be_secret_name(name) or name == "code") and looks_random(value)
    )
    is_kept = not value or value == MASK or is_reference(value)
    return f"{head}{MASK}" if is_secret and not is_kept else f"{head}{value}"


def _default_masked(match: re.Match[str]) -> str:
    is_value = is_secret_name(match[2]) and match[4].strip() not in NO_DEFAULTS
    return f"{match[1]}{match[2]}{match[3]}'{MASK}'{match[5]}" if is_value else match[0]


def _line_masked(match: re.Match[str]) -> str:
    groups = match.groupdict()
    name, value = last_part(groups["name"] or groups["tag"]), groups["value"]
    is_kept = not is_secret_name(name) or _is_no_value(name, value.partition(" ")[0].rstrip(","))
    return match[0] if is_kept else _without(match, value)


def _assignment_masked(match: re.Match[str]) -> str:
    name = last_part(match["name"] or match["bare"] or match["option"].lstrip("-"))
    if not is_secret_name(name) and not (may_be_secret_name(name) and looks_random(match[0])):
        return match[0]
    if match["value"]:
        quote = match["value"][-1]
        inner = match["value"].partition(quote)[2][:-1]
        return match[0] if not inner or is_reference(inner) else _without(match, inner + quote, quote)
    value = match["word"] or match["argument"]
    return match[0] if _is_no_value(name, value) else _without(match, value)


def _without(match: re.Match[str], end: str, kept: str = "") -> str:
    """Return a match whose end is a secret with a mask in its place."""
    return match[0].removesuffix(end) + MASK + kept


def _is_no_value(name: str, value: str) -> bool:
    """Say whether what follows a secret's name is code, a type or a word for nothing, not the secret."""
    is_word = value.lower() in NO_VALUES or value == last_part(name) or value.startswith((MASK, "..."))
    is_count = value.replace(".", "", 1).isdecimal() and float(value) < LEAST_NUMBER
    return is_word or is_count or bool(CODE.fullmatch(value))
