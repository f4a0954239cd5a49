"""Signed links, used as a client uses them: with nothing but the link."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from adapters.system import utc_now
from application.ports import UrlSigner
from application.values import SignedUpload
from entrypoints.tools.doctor.findings import (
    Finding,
    Findings,
    address,
    clock_finding,
    failed,
    ok,
    unreachable,
    warning,
)

BODY = b"\xff\xd8\xff\xe0 an object of `pipeline doctor`, which removes it again"
LINK_SECONDS = 60
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """Where clients reach the store, by which setting, and what to say where they do not.

    `detour` is the same store under another address, for when `url` is another machine's
    localhost.
    """

    url: str
    setting: str
    cors_remedy: str
    nobody_remedy: str
    detour: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def told(self) -> str:
        """Status and S3 code; nothing else of a body is safe to repeat."""
        code = _CODE.search(self.body.decode("utf-8", "replace"))
        return f"{self.status} {code[1]}" if code else str(self.status)

    @property
    def is_fine(self) -> bool:
        return self.status < HTTPStatus.MULTIPLE_CHOICES


class LinkTrial:
    """Uploads BODY under `key`; `is_stored` says whether it must be removed."""

    def __init__(
        self, signer: UrlSigner, session: aiohttp.ClientSession, public: Public, key: str
    ) -> None:
        self._signer = signer
        self._session = session
        self._public = public
        self._key = key
        self._base: str | None = None
        self.is_stored = False

    async def run(self, origins: str) -> Findings:
        """The checks in order; those that need the upload are not tried when it fails."""
        link = await self._signer.upload_url(
            self._key,
            content_type="image/jpeg",
            expires_seconds=LINK_SECONDS,
            size=len(BODY),
            sha256=base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
        )
        try:
            first = await self._first_put(link)
        except (aiohttp.ClientError, TimeoutError) as error:
            yield self._nobody(error)
            return
        if self._base is not None:
            yield self._went_round()
        yield _clock(first)
        yield self._upload(first)
        try:
            async for finding in self._further(link, origins):
                yield finding
        except (aiohttp.ClientError, TimeoutError) as error:
            yield self._broken_off(error)

    async def _further(self, link: SignedUpload, origins: str) -> Findings:
        if self.is_stored:
            yield await self._write_once(link)
            yield await self._download()
            async for finding in self._cors(link, origins):
                yield finding

    async def _first_put(self, link: SignedUpload) -> Answer:
        """Goes round by the detour if nobody listens at the public address."""
        try:
            answer = await self._ask("PUT", link.url, link.headers, BODY)
        except aiohttp.ClientConnectorError:
            if self._public.detour is None:
                raise
            self._base = self._public.detour
            answer = await self._ask("PUT", link.url, link.headers, BODY)
        self.is_stored = answer.is_fine
        return answer

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        sent = dict(headers)
        if self._base is not None:
            sent["Host"] = urlsplit(url).netloc
            url = self._base.rstrip("/") + url.removeprefix(self._public.url.rstrip("/"))
        async with self._session.request(
            method, URL(url, encoded=True), headers=sent, data=body, allow_redirects=False
        ) as answer:
            return Answer(answer.status, await answer.read(), answer.headers)

    # --- what it means ------------------------------------------------------------------------

    def _nobody(self, error: Exception) -> Finding:
        setting = self._public.setting
        found = unreachable("upload link", error, self._public.url, setting)
        sentence = found.sentence if found else f"{type(error).__name__} at {self._public.url}."
        remedy = self._public.nobody_remedy
        return failed("upload link", f"Clients cannot upload. {sentence}", remedy)

    def _broken_off(self, error: Exception) -> Finding:
        return failed(
            "links",
            f"What answers at {self._public.url} breaks off an exchange ({type(error).__name__}).",
            "Look into the log of the store, and of a proxy before it.",
        )

    def _went_round(self) -> Finding:
        return warning(
            "upload link",
            f"Nobody listens at {address(self._public.url)} here; the links were tried at "
            f"{self._public.detour} under that name.",
            f"Fine inside a container; else set {self._public.setting} to an address that works.",
        )

    def _upload(self, answer: Answer) -> Finding:
        setting = self._public.setting
        if answer.is_fine:
            sentence = f"A client can upload with a signed link to {self._public.url}."
            return ok("upload link", sentence)
        if "Signature" in answer.told or answer.status == HTTPStatus.FORBIDDEN:
            return failed(
                "upload link",
                f"The store refuses a link that we have signed for {self._public.url} "
                f"({answer.told}).",
                f"Set {setting} to exactly what clients type; a proxy must keep the Host header.",
            )
        return failed(
            "upload link",
            f"A PUT with a signed link to {self._public.url} is answered with {answer.told}.",
            f"{setting} must lead to the store, and a proxy must let PUT pass.",
        )

    async def _write_once(self, link: SignedUpload) -> Finding:
        answer = await self._ask("PUT", link.url, link.headers, BODY)
        if answer.is_fine:
            return failed(
                "write-once",
                "The store takes a second upload with a link that is good for one.",
                "Use a store that honours If-None-Match on PUT.",
            )
        return ok("write-once", f"A second upload with the same link is refused ({answer.told}).")

    async def _download(self) -> Finding:
        url = await self._signer.download_url(self._key, expires_seconds=LINK_SECONDS)
        answer = await self._ask("GET", url, {})
        if answer.status == HTTPStatus.OK and answer.body == BODY:
            return ok("download link", "A client gets with a signed link what was uploaded.")
        what = answer.told if answer.status != HTTPStatus.OK else "other bytes than were uploaded"
        return failed(
            "download link",
            f"A GET with a signed link is answered with {what}.",
            "Let the access key read the bucket, and no proxy change what passes.",
        )

    async def _cors(self, link: SignedUpload, origins: str) -> Findings:
        """What a browser asks before it uploads."""
        for origin in [one.strip() for one in origins.split(",") if one.strip()]:
            page = "https://doctor.example" if origin == "*" else origin
            wanted = ",".join(sorted(name.lower() for name in link.headers))
            answer = await self._ask(
                "OPTIONS",
                link.url,
                {
                    "Origin": page,
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": wanted,
                },
            )
            yield self._preflight(answer, page, wanted)

    def _preflight(self, answer: Answer, page: str, wanted: str) -> Finding:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        allowed = headers.get("access-control-allow-origin")
        names = headers.get("access-control-allow-headers", "").lower().replace(" ", "")
        methods = headers.get("access-control-allow-methods", "").upper()
        problem = ""
        if not answer.is_fine or allowed not in ("*", page):
            problem = "pages of this origin"
        elif "PUT" not in methods and methods != "*":
            problem = "PUT"
        elif names != "*" and not set(wanted.split(",")) <= set(names.split(",")):
            problem = f"the headers {wanted}"
        if problem:
            sentence = f"A browser on {page} may not upload: the store does not allow {problem}."
            return failed("CORS", sentence, self._public.cors_remedy)
        return ok("CORS", f"A browser on a page of {page} may upload.")


def _clock(answer: Answer) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return warning("clock", "The store does not say what time it is.", "Check it by hand.")
    # The header has whole seconds: half of one is the best guess.
    skew = theirs + timedelta(seconds=0.5) - utc_now()
    return clock_finding("clock", "the store", skew, "Links end too early or are refused.")
