"""`iconface-video serve` before the server runs: addresses, the warning, and what is said when it cannot start."""

from __future__ import annotations

import builtins

import pytest

from iconface_video.cli.main import main
from iconface_video.errors import UsageError
from iconface_video.web.server import listen, serve, url_of
from iconface_video.web.serving import ServeSettings


class StandIn:
    """Instead of uvicorn's server: begins and ends at once."""

    def __init__(self, config) -> None:
        pass

    def run(self, sockets) -> None:
        assert sockets[0].getsockname()[1] > 0


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setattr("uvicorn.Server", StandIn)
    monkeypatch.setattr("iconface_video.web.engine.Engine.warm_up", lambda self, settings: None)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
    ],
)
def test_the_address_that_is_said_can_be_opened(host, url):
    assert url_of(ServeSettings(host=host), 80) == url


def test_only_the_own_machine_is_let_in_unless_told(no_server, tmp_path):
    said: list[str] = []
    serve(ServeSettings(port=0, projects=tmp_path), said.append)
    assert len(said) == 1
    assert "http://127.0.0.1:" in said[0]


def test_a_warning_and_a_pass_phrase_are_said_when_others_are_let_in(no_server, tmp_path):
    said: list[str] = []
    serve(ServeSettings(host="0.0.0.0", port=0, projects=tmp_path), said.append)
    assert any(line.startswith("warning:") and "unencrypted" in line for line in said)
    assert any(line.startswith("pass phrase: ") and len(line) > 30 for line in said)


def test_a_port_in_use_is_an_error_that_says_what_to_do(capsys):
    with listen(ServeSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err


def test_without_the_extra_its_name_is_said(monkeypatch, tmp_path):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"iconface-video\[web\]"):
        serve(ServeSettings(port=0, projects=tmp_path), print)
