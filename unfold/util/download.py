"""Download files: resumable, checked and atomic.

Our own, on the standard library: the available packages (pooch, torch.hub) check digests, but start again after every
interruption.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout

import unfold
from unfold.errors import UnfoldError
from unfold.util.progress import bar

logger = logging.getLogger("unfold")
CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a received byte
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt
BUSY = (408, 429)  # status codes below 500 for which a retry may help


class AttemptError(Exception):
    """An attempt failed, but a retry may succeed."""


class StaleError(AttemptError):
    """The partial file cannot be continued."""


def download(url: str, target: Path, sha256: str | None) -> str:
    """Fetch ``url`` into the file ``target``; returns the file's SHA-256 in lower-case hex.

    sha256: the required digest, None if unknown. Until the file is complete and checked it is .NAME.part beside the
    target. A later call continues it where the server confirms that the file is unchanged (ETag or Last-Modified); else
    it starts again. One of several processes downloads, and the others wait for it. An existing target is checked and
    left unchanged. Failures of the connection and the server are retried after PAUSES. Raises UnfoldError: no http(s),
    refused by the server, no connection, another digest, no space, no folder.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnfoldError(f"{url} is no http or https address")
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target):
            if target.exists():
                return check_digest(target, sha256)
            logger.info("downloading %s to %s", url, target)
            _fetch(url, target, part, known=sha256 is not None)
            digest = sha256_of(part)
            if sha256 is not None and digest != sha256.lower():
                _forget(part)
                raise UnfoldError(f"{url} sends a wrong file, which is not kept: its SHA-256 is {digest}, not {sha256}")
            part.replace(target)
            _forget(part)
            return digest
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnfoldError(
                f"{target}: the disk is full; make room and try again, which continues the download ({part})"
            ) from None
        raise UnfoldError(f"{target} cannot be written: {error.strerror or error}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in lower-case hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def check_digest(path: Path, sha256: str | None) -> str:
    """The SHA-256 of a file; UnfoldError with both digests where it does not match."""
    found = sha256_of(path)
    if sha256 is not None and found != sha256.lower():
        raise UnfoldError(
            f"{path} is another file than it should be: its SHA-256 is {found}, not {sha256}; move it away to have it "
            "downloaded again"
        )
    return found


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Exclude other processes with the same target from the block; a process that dies releases the lock.

    Leaves an empty file .NAME.lock, as removing it could admit two processes.
    """
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another process, which writes %s", target)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """Follow redirects, but neither from https to http nor to another protocol."""
        if urlsplit(newurl).scheme not in ("https", req.type):
            raise UnfoldError(f"{req.full_url} leads to {newurl}, which is not followed: it is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, target: Path, part: Path, known: bool) -> None:
    for pause in (*PAUSES, None):
        try:
            _attempt(url, part, known)
            return
        except AttemptError as failure:
            if isinstance(failure, StaleError):
                _forget(part)
            if pause is None:
                raise UnfoldError(
                    f"{url} could not be downloaded ({failure}); try again later, or fetch it elsewhere and save it as "
                    f"{target}"
                ) from None
            logger.info("note: %s: %s; trying again in %g s", url, failure, pause)
            time.sleep(pause)


def _attempt(url: str, part: Path, known: bool) -> None:
    """Complete the partial file, from its end if the server can continue the same file.

    known: whether a digest will verify the file; otherwise the server must state its length.
    """
    version = _version_begun(part, url)
    begun = part.stat().st_size if version else 0
    headers = {"Range": f"bytes={begun}-", "If-Range": version} if version and begun else {}
    with _answer(url, headers) as answer:
        if answer.status not in (200, 206):
            raise UnfoldError(f"{url} could not be downloaded: the server answers {answer.status} {answer.reason}")
        if answer.length is None and not answer.chunked and not known:
            raise UnfoldError(
                f"{url} could not be downloaded: the server does not state the file's length, so that a part "
                "of it could pass for the whole; fetch it yourself"
            )
        now = _version_of(answer)
        if answer.status != 206:  # the whole file: the server supports no ranges, or has another file
            begun = 0
            _forget(part)
            if now:
                _tag(part).write_text(json.dumps([url, now]))
        elif now not in (version, None) or not answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            raise StaleError("the server continues another file")
        total = None if answer.length is None else begun + answer.length
        with (
            part.open("ab" if begun else "wb") as file,
            bar(total, url.rpartition("/")[2], "B", done=begun) as shown,
        ):
            for chunk in _chunks(answer):
                file.write(chunk)
                shown.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    arrived = part.stat().st_size
    if total is not None and arrived != total:
        raise AttemptError(f"the connection ended after {arrived:,} of {total:,} bytes")


def _answer(url: str, headers: dict[str, str]) -> HTTPResponse:
    request = Request(url, headers={"User-Agent": f"unfold/{unfold.__version__}", **headers})  # noqa: S310  (http(s))
    try:
        return build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        answer = " ".join(f"the server answers {error.code} {error.reason}".split())
        if error.code == 416:  # the partial file is not shorter, so it is not a part of that file
            raise StaleError(answer) from None
        if error.code >= 500 or error.code in BUSY:
            raise AttemptError(answer) from None
        raise UnfoldError(f"{url} could not be downloaded: {answer}") from None
    except UnfoldError:
        raise
    except ValueError as error:  # an invalid URL
        raise UnfoldError(f"{url} could not be downloaded: {error}") from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise UnfoldError(f"{url} could not be downloaded: {reason.verify_message or reason}") from None
        raise AttemptError(_wording(reason)) from None


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise AttemptError(_wording(error)) from None


def _wording(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing arrived for {TIMEOUT:g} s"
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _version_of(answer: HTTPResponse) -> str | None:
    etag = answer.headers.get("ETag", "W/")
    return answer.headers.get("Last-Modified") if etag.startswith("W/") else etag  # a weak tag is not of the bytes


def _tag(part: Path) -> Path:
    """The file that records the URL and version of a partial file."""
    return part.with_suffix(".version")


def _version_begun(part: Path, url: str) -> str | None:
    """The ETag or date of the partial file; None if there is none that can be continued."""
    try:
        address, version = json.loads(_tag(part).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return str(version) if address == url and part.exists() else None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)
