"""Whether W&B can be used online: a key, and a host that accepts it."""

from __future__ import annotations

import base64
import json
import netrc
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Literal

PROBE_TIMEOUT_S = 4
Mode = Literal["auto", "online", "offline"]


@dataclass(frozen=True)
class Access:
    """How W&B is used, and why; where and with which key when online."""

    mode: Literal["online", "offline"]
    reason: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


def choose_access(mode: Mode) -> Access:
    """Decide between online and offline.

    Args:
        mode: `online`, `offline`, or `auto`: online when there is a key and a host that accepts it.
    """
    if mode == "offline":
        return Access("offline", "tracker.mode=offline")
    base_url = _base_url()
    key = os.environ.get("WANDB_API_KEY") or _key_from_netrc(base_url)
    if mode == "online":
        return Access("online", "tracker.mode=online", base_url, key)
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return Access("offline", "WANDB_MODE")
    problem = _probe(base_url, key) if key else "no API key"
    return Access("offline", problem) if problem else Access("online", "", base_url, key)


def _base_url() -> str:
    if "WANDB_BASE_URL" in os.environ:
        return os.environ["WANDB_BASE_URL"].rstrip("/")
    import wandb

    return wandb.Settings().base_url.rstrip("/")


def _key_from_netrc(base_url: str) -> str | None:
    """Look `wandb login`'s key up; keys of W&B's own service may still be filed under its older host name."""
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):  # no netrc file, or one that isn't for us to judge
        return None
    host = urllib.parse.urlsplit(base_url).hostname or ""
    hosts = [host] if "WANDB_BASE_URL" in os.environ else [host, "api.wandb.ai"]
    found = (entries.authenticators(name) for name in hosts)
    return next((entry[2] for entry in found if entry), None)


def _probe(base_url: str, key: str) -> str:
    """Ask the host who the key belongs to; return what is wrong, or nothing."""
    body = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    request = urllib.request.Request(f"{base_url}/graphql", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        return f"{base_url} refuses the API key" if refused else f"{base_url} answers {error.code}"
    except (OSError, ValueError) as error:
        return f"{base_url} doesn't answer ({type(error).__name__})"
    accepted = isinstance(answer, dict) and (answer.get("data") or {}).get("viewer")
    return "" if accepted else f"{base_url} doesn't know the API key"
