"""Downloads a file over HTTP, with resuming, retries and verification."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import requests
from tqdm.auto import tqdm

from kd_tfrs.errors import UserError

_CHUNK_BYTES = 1 << 16  # at most this is lost when a connection breaks
_ALGORITHMS = ("sha256", "md5")
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class _BrokenOffError(Exception):
    """The transfer failed, and another attempt may succeed."""


class _StaleError(Exception):
    """The partial file does not fit the server's file; start again."""


def download(
    url: str,
    destination: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    retries: int = 4,
    backoff_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
    progress: bool = True,
) -> Path:
    """Downloads a file, and resumes an earlier attempt.

    The bytes are written to `destination` + ".part", which is renamed when it
    is complete and verified, so `destination` is never a partial file. An
    existing file with the right checksum is not downloaded again.

    Args:
        url: http or https address.
        destination: path of the complete file; missing folders are created.
        sha256: expected digest in hexadecimal, or None.
        md5: likewise, for hosts that publish no SHA-256.
        retries: further attempts after the first, 0 or more.
        backoff_seconds: wait before the first retry; it doubles every time.
        timeout_seconds: time without data after which an attempt fails.
        progress: whether to show a progress bar.

    Returns:
        `destination`.

    Raises:
        UserError: when the server refuses, the attempts are used up, or the
            checksum differs (then no file is left).

    Example:
    ```python
    download(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "ml-100k.zip",
        md5="0e33842e24a9c977be4e0107933c0723",
    )
    ```
    """
    destination = Path(destination)
    digests = {"sha256": sha256, "md5": md5}
    if destination.exists() and not _mismatch(destination, digests):
        return destination
    part = destination.with_name(destination.name + ".part")

    def fetch() -> None:
        _fetch_with_retries(
            url, part, retries, backoff_seconds, timeout_seconds, progress
        )

    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        fetch()
        if resumed and _mismatch(part, digests):
            # The partial file may be of an older version: start again.
            part.unlink()
            fetch()
        _verify(url, part, digests)
        part.replace(destination)
    except OSError as error:
        raise UserError(
            f"`{destination}` should be writable. Received: {error}. Choose "
            f"another folder with KD_TFRS_DATA_DIR."
        ) from error
    return destination


def file_digest(path: Path, algorithm: str) -> str:
    """Returns the hexadecimal digest of a file's contents."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _mismatch(
    path: Path, digests: Mapping[str, str | None]
) -> tuple[str, str, str] | None:
    """Returns (algorithm, expected, received) where they differ, or None."""
    for algorithm in _ALGORITHMS:
        expected = digests[algorithm]
        if expected:
            received = file_digest(path, algorithm)
            if received != expected.lower():
                return algorithm, expected, received
    return None


def _verify(url: str, part: Path, digests: Mapping[str, str | None]) -> None:
    wrong = _mismatch(part, digests)
    if wrong:
        part.unlink()
        algorithm, expected, received = wrong
        raise UserError(
            f"{url} should have {algorithm} {expected}. Received: {received}. "
            f"Nothing was kept; try again, or put the right file into "
            f"`{part.parent}` yourself."
        )


def _fetch_with_retries(
    url: str,
    part: Path,
    retries: int,
    backoff_seconds: float,
    timeout_seconds: float,
    progress: bool,
) -> None:
    reason = "no attempt"
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(backoff_seconds * 2 ** (attempt - 1))
        try:
            _fetch(url, part, timeout_seconds, progress)
            return
        except _StaleError as error:
            part.unlink(missing_ok=True)
            reason = str(error)
        except (_BrokenOffError, requests.RequestException) as error:
            reason = str(error)
    raise UserError(
        f"{url} should be reachable. Received: {reason[:200]} (after "
        f"{retries + 1} attempts). Check the network and start again; what "
        f"has arrived is kept. Or put the file into `{part.parent}` yourself."
    )


def _fetch(
    url: str, part: Path, timeout_seconds: float, progress: bool
) -> None:
    """One attempt; returns when `part` is complete."""
    start = part.stat().st_size if part.exists() else 0
    # With compression, lengths and ranges would count other bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(
        url, headers=headers, stream=True, timeout=timeout_seconds
    ) as response:
        if _nothing_left(response, start):
            return
        total = _check_response(url, response, start)
        if response.status_code == requests.codes.ok:
            start = 0  # the server ignores the range and sends the whole file
        _write(response, part, start, total, progress)
    size = part.stat().st_size
    if total is not None and size != total:
        raise _BrokenOffError(f"{size} of {total} bytes arrived")


def _nothing_left(response: requests.Response, start: int) -> bool:
    """Whether the partial file is complete, according to the server."""
    status = response.status_code
    whole = response.headers.get("Content-Range", "") == f"bytes */{start}"
    return whole and status == requests.codes.requested_range_not_satisfiable


def _check_response(
    url: str, response: requests.Response, start: int
) -> int | None:
    """Returns the size of the whole file, or None if unknown."""
    status = response.status_code
    if status == requests.codes.ok:
        length = response.headers.get("Content-Length")
        return int(length) if length else None
    if status == requests.codes.partial_content:
        # "bytes 500-999/1000"
        span, _, total = response.headers.get("Content-Range", "").partition(
            "/"
        )
        if span != f"bytes {start}-{span.rpartition('-')[2]}":
            raise _StaleError(f"the server sent {span!r}, not from {start}")
        return int(total) if total.isdigit() else None
    if status == requests.codes.requested_range_not_satisfiable:
        raise _StaleError("the part on disk is longer than the file")
    message = f"HTTP status {status} {response.reason}"
    if status in _TRY_AGAIN:
        raise _BrokenOffError(message)
    raise UserError(
        f"{url} should be publicly available. Received: {message}. Check the "
        f"address in a browser, or download the file yourself."
    )


def _write(
    response: requests.Response,
    part: Path,
    start: int,
    total: int | None,
    progress: bool,
) -> None:
    bar = tqdm(
        total=total,
        initial=start,
        desc=part.stem,
        unit="B",
        unit_scale=True,
        disable=not progress,
    )
    with bar, part.open("ab" if start else "wb") as file:
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
