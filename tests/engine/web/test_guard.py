"""The guard in front of the page: routes, origins, sizes, times and paths. The application behind it is a stub."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from engine.web import asgi, guard
from engine.web.asgi import ALIAS
from engine.web.guard import Guard, is_loopback

HOST = {"host": "127.0.0.1:7860"}


class Stub:
    """Application that answers with what it received, and with the path of the private folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.calls: list[tuple[str, bytes]] = []
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json"), (b"content-length", b"99")]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        self.calls.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        answer = json.dumps({"root": f"{self.root}/uploads/a.mp4", "body": body.decode()}).encode()
        if scope["path"] == "/gradio_api/upload":
            answer = b"[]"
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def stub(folder):
    return Stub(str(folder.root))


@pytest.fixture
def guarded(stub, service, folder):
    return Guard(stub, folder, service.limits, loopback=True)


def ask(
    app: Any, method: str, path: str, body: bytes = b"", *, pause_s: float = 0.0, **headers: str
) -> tuple[int, dict, Any]:
    """Send a request; return status, headers and the decoded answer."""
    sent: list[dict] = []
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    names = {name.replace("_", "-"): value for name, value in {**HOST, **headers}.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
    }

    async def receive() -> dict:
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict) -> None:
        sent.append(dict(message))

    asyncio.run(app(scope, receive, send))
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(answer) if answer[:1] == b"{" else answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=http://example.com/"),
        ("GET", "/gradio_api/file=http://example.com/"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=/clips/../../etc/passwd"),
        ("GET", "/gradio_api/file=/clips/uploads/none.mp4"),
        ("GET", "/gradio_api/file=/clips/jobs/none.mp4"),
        ("GET", "/gradio_api/file=/clips/uploads/" + "a" * 5000),
        ("GET", "/monitoring/summary"),
        ("GET", "/login"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/run-history/records"),
        ("POST", "/gradio_api/run/score"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/api/score/a.mp4"),
        ("DELETE", "/"),
        ("TRACE", "/"),
        ("OPTIONS", "/"),
    ],
)
def test_other_routes_and_files_do_not_exist(guarded, stub, method, path):
    status, _, answer = ask(guarded, method, path)
    assert status == 404 and "error" in answer and not stub.calls


def test_page_forbids_loading_from_elsewhere_and_hides_paths(guarded, stub, folder):
    status, headers, answer = ask(guarded, "GET", "/config")
    assert status == 200 and answer["root"] == f"{ALIAS}/uploads/a.mp4" and b"content-length" not in headers
    assert (
        b"default-src 'self'" in headers[b"content-security-policy"] and headers[b"referrer-policy"] == b"no-referrer"
    )


def test_downloads_are_not_rewritten(guarded, stub, folder):
    stub.headers = [(b"content-type", b"text/html"), (b"content-disposition", b"attachment"), (b"content-length", b"5")]
    upload = folder.new_file("a.html")
    upload.write_text("x")
    status, headers, answer = ask(
        guarded, "GET", "/gradio_api/file=" + ALIAS + str(upload).removeprefix(str(folder.root))
    )
    assert status == 200 and headers[b"content-length"] == b"5"
    assert stub.calls[0][0] == f"/gradio_api/file={upload}" and answer["root"].startswith(str(folder.root))


def test_file_of_a_request_must_have_been_uploaded(guarded, stub, folder):
    upload = folder.new_file("a.mp4")
    upload.write_bytes(b"clip")
    alias = ALIAS + str(upload).removeprefix(str(folder.root))
    link = upload.with_name("link.mp4")
    os.symlink("/etc/passwd", link)
    file = {"path": alias, "url": "http://example.com/a.mp4", "meta": {"_type": "gradio.FileData"}}
    status, _, answer = ask(guarded, "POST", "/gradio_api/call/score", json.dumps({"data": [[file]]}).encode())
    assert status == 200 and json.loads(stub.calls[0][1])["data"][0][0]["path"] == str(upload)
    assert b"example.com" not in stub.calls[0][1] and str(folder.root) not in json.dumps(answer)
    for path in (
        "/etc/passwd",
        str(upload),
        "http://example.com/",
        None,
        3,
        f"{alias}/../link.mp4",
        f"{alias[:-5]}link.mp4",
    ):
        bad = json.dumps({"data": [{**file, "path": path}]}).encode()
        assert ask(guarded, "POST", "/gradio_api/queue/join", bad)[0] == 404
    no_path = json.dumps({"data": [{"url": "http://example.com", "meta": {"_type": "gradio.FileData"}}]}).encode()
    assert ask(guarded, "POST", "/gradio_api/queue/join", no_path)[0] == 404
    assert len(stub.calls) == 1


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"nonsense", b"NaN"])
def test_body_must_be_json(guarded, stub, body):
    assert ask(guarded, "POST", "/gradio_api/queue/join", body)[0] == 400 and not stub.calls


def test_large_body_is_refused(guarded, stub):
    assert ask(guarded, "POST", "/gradio_api/queue/join", b" " * 2_100_000)[0] == 413 and not stub.calls


def test_upload_needs_its_size_and_room(guarded, stub, folder, service):
    for method, path in (("POST", "/gradio_api/upload"), ("PUT", "/api/score/a.mp4")):
        assert ask(guarded, method, path, b"ab")[0] == 411
        assert ask(guarded, method, path, b"ab", content_length="2")[0] == 200
        assert ask(guarded, method, path, b"ab", content_length="9000000")[0] == 413
    status, _, answer = ask(guarded, "PUT", "/api/score", b"ab", content_length="600000")
    assert status == 413 and answer["error"].startswith("The file has 0.6 MB, and the limit is 0.5 MB.")
    folder.new_file("a").write_bytes(bytes(service.limits.stored_bytes - 1))
    assert ask(guarded, "POST", "/gradio_api/upload", b"ab", content_length="2")[0] == 503


def test_slow_upload_is_ended(guarded, monkeypatch):
    monkeypatch.setattr(asgi, "IDLE_S", 0.05)
    status, headers, answer = ask(guarded, "PUT", "/api/score", b"ab", pause_s=1.0, content_length="2")
    assert status == 408 and "too slow" in answer["error"] and headers[b"connection"] == b"close"


def test_slow_upload_is_ended_after_its_total_time(guarded, monkeypatch):
    monkeypatch.setattr(asgi, "UPLOAD_S", 0.0)
    assert ask(guarded, "PUT", "/api/score", b"ab", pause_s=0.01, content_length="2")[0] == 408


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "http://example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),
        ({"host": "example.com:7860"}, 403),
        ({"host": "localhost:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
        ({"host": "["}, 400),
    ],
)
def test_requests_of_other_sites_are_refused(guarded, headers, status):
    assert ask(guarded, "GET", "/", **headers)[0] == status


def test_other_host_names_are_served_on_public_addresses(stub, folder, service):
    assert ask(Guard(stub, folder, service.limits, loopback=False), "GET", "/", host="scores.example.com")[0] == 200


@pytest.mark.parametrize("complete", [False, True])
def test_refusal_after_the_start_of_a_response_ends_it(folder, complete):
    sent = []

    async def send(message):
        sent.append(message)

    async def run():
        response = asgi.Response(send, str(folder.root))
        await response({"type": "http.response.start", "status": 200, "headers": []})
        if complete:
            await response({"type": "http.response.body", "body": b"all"})
        await response.refuse(asgi.RequestRefusedError(408, "late"))

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_failure_of_the_application_is_one_sentence(folder, service, caplog):
    async def failing(scope, receive, send):
        raise RuntimeError(f"no {folder.root}")

    status, _, answer = ask(Guard(failing, folder, service.limits, loopback=True), "GET", "/")
    assert status == 500 and answer["error"] == "The request could not be answered."
    assert "GET / failed" in caplog.text


@pytest.mark.parametrize("slow", [False, True])
def test_answers_of_a_framework_to_failures_are_replaced(folder, service, monkeypatch, slow):
    async def failing(scope, receive, send):
        try:
            await receive()
            raise RuntimeError
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
            raise

    monkeypatch.setattr(asgi, "IDLE_S", 0.05)
    guarded = Guard(failing, folder, service.limits, loopback=True)
    status, _, answer = ask(guarded, "PUT", "/api/score", b"ab", pause_s=float(slow), content_length="2")
    assert (status, answer["error"].split(".")[0]) == (
        (408, "The upload was too slow") if slow else (500, "The request could not be answered")
    )


def test_upload_gets_a_name_that_does_not_depend_on_its_content(folder, service):
    async def storing(scope, receive, send):
        stored = folder.uploads / "hash of the content" / "a.mp4"
        stored.parent.mkdir(exist_ok=True)
        stored.write_bytes(b"clip")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps([str(stored)]).encode()})

    guarded = Guard(storing, folder, service.limits, loopback=True)
    answers = [ask(guarded, "POST", "/gradio_api/upload", b"ab", content_length="2") for _ in range(2)]
    (one,), (other,) = (json.loads(answer) for _, _, answer in answers)
    assert one != other and "hash" not in one + other
    assert {guarded.real_path(path) for path in (one, other)} == {str(p) for p in folder.uploads.rglob("*.mp4")}
    assert len(list(folder.uploads.iterdir())) == 2


def test_upload_that_is_gone_is_refused(folder, service):
    async def storing(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([str(folder.uploads / "a" / "b")]).encode()})

    guarded = Guard(storing, folder, service.limits, loopback=True)
    assert ask(guarded, "POST", "/gradio_api/upload", b"ab", content_length="2")[0] == 503


def test_websockets_are_closed(guarded):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guarded({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_loopback_addresses_are_recognised():
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "0.0.0.0", "a.example")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
    assert guard.API == "/gradio_api"
