"""A real OpenID Connect provider (the npm package oidc-provider) on a free port, and a browser that signs in there."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.commands import require_command
from tests.support.paths import ROOT
from tests.support.running_server import free_port

PROGRAM = ROOT / "tests" / "identity" / "provider.mjs"
INSTALLED = Path(os.environ.get("CAKE_TEST_IDENTITY_PROVIDER", ROOT / ".identity-provider"))
SECRET = "a+b%c/d: e"
"""Of the client `cake`: clients that do not encode it are refused."""
_FORM = re.compile(r'<form[^>]* action="([^"]+)"')
_PROMPT = re.compile(r'name="prompt" value="(\w+)"')


@dataclass(frozen=True)
class Provider:
    """A provider in a child process."""

    issuer: str
    callback_port: int
    """Of the server at 127.0.0.1 whose people may sign in."""

    def settings(self, roles: Path, secret_file: Path) -> dict[str, object]:
        """Settings of a server that uses it."""
        secret_file.write_text(f"{SECRET}\n")
        return {
            "port": self.callback_port,
            "public_url": f"http://127.0.0.1:{self.callback_port}",
            "roles": roles,
            "oidc_issuer": self.issuer,
            "oidc_client_id": "cake",
            "oidc_client_secret_file": secret_file,
            "oidc_scopes": "openid,profile,groups",
            "oidc_audience": "cake-api",
        }


@contextmanager
def identity_provider(folder: Path) -> Iterator[Provider]:
    """Run the provider, which writes its log into `folder`."""
    if not (INSTALLED / "node_modules" / "oidc-provider").exists():
        reason = "oidc-provider is not installed: make .identity-provider/installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    port, callback_port = free_port(), free_port()
    page = f"http://127.0.0.1:{callback_port}"
    program = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    clients = [
        {
            "client_id": "cake",
            "client_secret": SECRET,
            "redirect_uris": [f"{page}/sign-in/return"],
            "post_logout_redirect_uris": [f"{page}/"],
        },
        {"client_id": "program", "client_secret": "program's", **program},
    ]
    command = [require_command("node"), str(PROGRAM), str(port), json.dumps(clients)]
    log = folder / "provider.log"
    with log.open("wb") as stderr:
        environ = {**os.environ, "IDENTITY_PROVIDER": str(INSTALLED)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environ, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "listening\n", log.read_text()
                yield Provider(f"http://localhost:{port}", callback_port)
            finally:
                process.kill()


async def at_provider(browser: httpx.AsyncClient, url: str, login: str) -> httpx.Response:
    """Sign in at the provider as `login`, and return its answer that leads back to the server."""
    answer = await browser.get(url)
    while not answer.has_redirect_location or "/sign-in/return" not in answer.headers["location"]:
        if answer.has_redirect_location:
            answer = await browser.get(urljoin(str(answer.url), answer.headers["location"]))
            continue
        form, prompt = _FORM.search(answer.text), _PROMPT.search(answer.text)
        assert form is not None, answer.text
        assert prompt is not None, answer.text
        data = {"prompt": prompt[1], "login": login, "password": "any"}
        answer = await browser.post(urljoin(str(answer.url), unescape(form[1])), data=data)
    return answer
