import hashlib
import http.server
import threading

import pytest

from kd_tfrs.data.sources.download import download, file_digest
from kd_tfrs.errors import UserError

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Fails as listed in `server.plan`, one word for each request."""

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        word = server.plan.pop(0) if server.plan else "whole"
        if word.isdigit():
            self.send_error(int(word))
            return
        start = 0
        if self.headers.get("Range") and word != "no_range":
            start = int(self.headers["Range"][len("bytes=") : -1])
            if start >= len(BODY):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(BODY)}")
                self.end_headers()
                return
            self.send_response(206)
            span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            self.send_header("Content-Range", span)
        else:
            self.send_response(200)
        body = BODY[start:]
        if word != "no_length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if word == "cut":  # the connection ends in the middle of the body
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.plan, server.ranges = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server, path, **options):
    options = {"backoff_seconds": 0.0, "progress": False} | options
    return download(server.url, path, **options)


@pytest.mark.parametrize("checksum", [{}, {"sha256": SHA256}, {"md5": MD5}])
def test_download(server, tmp_path, checksum):
    path = fetch(server, tmp_path / "new" / "data.zip", **checksum)
    assert path.read_bytes() == BODY
    assert [f.name for f in path.parent.iterdir()] == ["data.zip"]


def test_progress_bar_counts_the_bytes(server, tmp_path, capsys):
    fetch(server, tmp_path / "data.zip", progress=True)
    assert "1.05M/1.05M" in capsys.readouterr().err


def test_no_content_length(server, tmp_path):
    server.plan = ["no_length"]
    path = fetch(server, tmp_path / "data.zip", sha256=SHA256)
    assert path.read_bytes() == BODY


def test_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.plan = ["cut", "503", "cut", "whole"]
    path = fetch(server, tmp_path / "data.zip", sha256=SHA256)
    assert path.read_bytes() == BODY
    half, three_quarters = len(BODY) // 2, len(BODY) * 3 // 4
    assert server.ranges == [
        None,
        f"bytes={half}-",
        f"bytes={half}-",
        f"bytes={three_quarters}-",
    ]


def test_part_of_an_earlier_run_is_resumed(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(BODY[:1000])
    path = fetch(server, tmp_path / "data.zip", sha256=SHA256)
    assert server.ranges == ["bytes=1000-"]
    assert path.read_bytes() == BODY


def test_complete_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(BODY)
    path = fetch(server, tmp_path / "data.zip", sha256=SHA256)
    assert len(server.ranges) == 1
    assert path.read_bytes() == BODY


def test_server_without_ranges_starts_anew(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(BODY[:1000])
    server.plan = ["no_range"]
    path = fetch(server, tmp_path / "data.zip")
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("stale", [b"old" * 100, b"x" * (len(BODY) + 1)])
def test_stale_part_is_given_up(server, tmp_path, stale):
    (tmp_path / "data.zip.part").write_bytes(stale)
    path = fetch(server, tmp_path / "data.zip", sha256=SHA256)
    assert path.read_bytes() == BODY


def test_finished_file_is_kept_and_a_damaged_one_replaced(server, tmp_path):
    path = fetch(server, tmp_path / "data.zip", md5=MD5)
    fetch(server, path, md5=MD5)
    assert len(server.ranges) == 1
    path.write_bytes(b"damaged")
    assert fetch(server, path, md5=MD5).read_bytes() == BODY


def test_wrong_checksum_names_both_and_leaves_no_file(server, tmp_path):
    with pytest.raises(UserError) as caught:
        fetch(server, tmp_path / "data.zip", sha256="0" * 64)
    assert "0" * 64 in str(caught.value)
    assert SHA256 in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_truncated_for_good_keeps_what_arrived(server, tmp_path):
    server.plan = ["cut"] * 3
    with pytest.raises(UserError, match="after 3 attempts"):
        fetch(server, tmp_path / "data.zip", retries=2)
    assert not (tmp_path / "data.zip").exists()
    part = tmp_path / "data.zip.part"
    assert part.stat().st_size == len(BODY) * 7 // 8


@pytest.mark.parametrize("status", ["404", "403"])
def test_refusal_is_not_retried(server, tmp_path, status):
    server.plan = [status]
    with pytest.raises(UserError, match=f"HTTP status {status}"):
        fetch(server, tmp_path / "data.zip")
    assert len(server.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_unreachable_server(server, tmp_path):
    server.url = "http://127.0.0.1:9/data.zip"
    with pytest.raises(UserError, match="Check the network"):
        fetch(server, tmp_path / "data.zip", retries=1)


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="should be writable"):
        fetch(server, tmp_path / "file" / "data.zip")


def test_file_digest(tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    assert file_digest(tmp_path / "a", "md5") == MD5
