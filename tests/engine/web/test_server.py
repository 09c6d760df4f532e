"""The running page: its API, what it serves, and what it survives. No path of the server may reach an answer."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.web.serving import Served
from tests.support import REPOSITORY, write_video

pytest.importorskip("gradio", reason="gradio is not installed (requirements-app.txt)")
connections = pytest.importorskip("engine.web.connections")

REQUESTS = 1000


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Write a one-second clip."""
    return write_video(tmp_path_factory.mktemp("clips") / "clip ö.mp4", 1)


def paths_in(page: Served, body: bytes) -> list[str]:
    """Return the paths of the server that occur in an answer."""
    home, packages = str(Path.home()), str(Path(sys.prefix))
    known = (str(page.folder.root), str(REPOSITORY), packages, os.getcwd(), f"{home}/")
    return [path for path in known if path.encode() in body]


def test_curl_scores_a_clip(web_page, clip):
    status, answer = web_page.put(clip, "clip%20%C3%B6.mp4")
    assert status == 200
    assert (answer["video"], answer["verdict"], answer["status"]) == ("clip ö.mp4", "inconclusive", "ok")
    assert 0 < answer["score"] < 1 and answer["thresholds"] == {"fake": 0.78, "real": 0.29} and not answer["message"]
    assert not web_page.stored_clips()


def test_python_client_sees_one_endpoint_and_no_paths(web_page):
    from gradio_client import Client

    endpoints = Client(web_page.url, verbose=False, analytics_enabled=False).view_api(return_format="dict")
    assert list(endpoints["named_endpoints"]) == ["/score"]
    assert not paths_in(web_page, json.dumps(endpoints).encode())


def test_commands_in_the_documents_work(web_page, clip, tmp_path, monkeypatch, capsys):
    usage = (
        (REPOSITORY / "docs" / "USAGE.md")
        .read_text(encoding="utf-8")
        .replace("127.0.0.1:7860/", f"127.0.0.1:{web_page.port}/")
    )
    usage = usage.replace("http://127.0.0.1:7860", web_page.url)
    shutil.copy(clip, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python no-run\n(from gradio_client.*?)```", usage, re.S)
    exec(compile(code, "USAGE.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("inconclusive 0.")
    (command,) = re.findall(r"^curl .*$", usage, re.M)
    if shutil.which("curl"):
        done = subprocess.run(shlex.split(command), capture_output=True, check=True)
        assert json.loads(done.stdout)["video"] == "clip.mp4"


def test_broken_and_long_clips_get_a_reason(web_page, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a clip")
    status, answer = web_page.put(broken)
    assert (status, answer["verdict"], answer["reason"]) == (200, "unscored", "unreadable")
    status, answer = web_page.put(write_video(tmp_path / "long.mp4", 1, frames=200))
    assert status == 422 and answer["message"].startswith("The clip lasts 10 s, and the limit is 6 s.")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1_200_000))
    status, answer = web_page.put(large)
    assert status == 413 and answer["error"].startswith("The file has 1.2 MB, and the limit is 1 MB.")
    assert not web_page.stored_clips()


def test_nothing_outside_the_private_folder_is_served(web_page, clip):
    outside = [clip, REPOSITORY / "README.md", Path("/etc/passwd"), web_page.folder.root]
    for path in [
        *map(str, outside),
        f"{web_page.folder.uploads}/../../{clip}",
        "http://127.0.0.1:1/a",
        "file:///etc/passwd",
    ]:
        for route in ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/static/", "/assets/", "/"):
            status, body = web_page.ask("GET", route + path.replace(" ", "%20").encode("ascii", "ignore").decode())
            assert status in (403, 404) and b"root:" not in body, route + path


def test_answers_do_not_contain_paths(web_page, clip):
    for route in ("/", "/config", "/gradio_api/info", "/theme.css", "/manifest.json", "/gradio_api/startup-events"):
        status, body = web_page.ask("GET", route)
        assert status == 200 and not paths_in(web_page, body), route
    edge = "--edge"
    part = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="../a<b>.mp4"\r\n\r\n'
    form = part.encode() + clip.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    status, body = web_page.ask(
        "POST", "/gradio_api/upload", form, Content_Type=f"multipart/form-data; boundary={edge}"
    )
    (alias,) = json.loads(body)
    assert status == 200 and alias.startswith("/clips/uploads/") and not paths_in(web_page, body)
    status, body = web_page.ask("GET", f"/gradio_api/file={alias}")
    assert status == 200 and body == clip.read_bytes()
    file = {"path": alias, "meta": {"_type": "gradio.FileData"}}
    status, body = web_page.ask("POST", "/gradio_api/call/score", json.dumps({"data": [file]}))
    status, body = web_page.ask("GET", f"/gradio_api/call/score/{json.loads(body)['event_id']}")
    assert b"event: complete" in body and b'"verdict"' in body and not paths_in(web_page, body)
    status, body = web_page.ask("GET", f"/gradio_api/file={alias}")
    assert status == 404


def mixed_requests(count: int, seed: int = 0) -> list[tuple[str, str, bytes]]:
    """Return valid, wrong and hostile requests in random order."""
    rng = random.Random(seed)
    routes = [
        "/",
        "/config",
        "/theme.css",
        "/gradio_api/info",
        "/none",
        "/gradio_api/file=/etc/passwd",
        "/api/score/a.mp4",
    ]
    routes += ["/gradio_api/queue/join", "/gradio_api/call/score", "/gradio_api/upload", "/gradio_api/call/score/none"]
    routes += [
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/assets/../../x",
        "/%00",
    ]
    bodies = [b"", b"{", b'{"data": []}', b'{"data": [{"path": "/etc/passwd"}], "fn_index": 3, "session_hash": "a"}']
    bodies += [
        rng.randbytes(300),
        b'{"fn_index": -1}',
        b"[" * 3000,
        b'{"event_id": "x", "session_hash": "y", "fn_index": 1}',
    ]
    return [
        (rng.choice(("GET", "POST", "PUT", "HEAD", "DELETE")), rng.choice(routes), rng.choice(bodies))
        for _ in range(count)
    ]


def test_page_survives_mixed_requests(web_page, clip):
    def send(request: tuple[str, str, bytes]) -> int:
        method, route, body = request
        try:
            status, answer = web_page.ask(method, route, body)
        except (OSError, http.client.HTTPException) as error:
            pytest.fail(f"{request}: {error}")
        assert not paths_in(web_page, answer) and b"Traceback" not in answer, request
        return status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, mixed_requests(REQUESTS)))
    assert len(statuses) == REQUESTS and {200, 404} <= set(statuses)
    assert web_page.put(clip, "after.mp4")[0] == 200


def test_connections_without_a_request_are_closed(web_page, monkeypatch):
    monkeypatch.setattr(connections, "IDLE_CHECK_S", 0.05)
    for head in (b"", b"GET / HTTP/1.1\r\nX: "):
        with socket.create_connection(("127.0.0.1", web_page.port), 20) as connection:
            connection.sendall(head)
            assert connection.recv(100) == b""
    assert web_page.ask("GET", "/config")[0] == 200


def test_page_survives_slow_and_broken_uploads(web_page, clip):
    head = b"PUT /api/score/slow.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", web_page.port)) for _ in range(6)]
    for connection in slow:
        connection.sendall(head + b"part")
    assert web_page.put(clip, "meanwhile.mp4")[0] == 200
    for connection in slow:
        connection.close()
    end = time.monotonic() + 20
    while web_page.stored_clips() and time.monotonic() < end:
        time.sleep(0.05)
    assert not web_page.stored_clips()
