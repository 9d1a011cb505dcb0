"""Copy a model package from Google Cloud Storage into a folder, where no platform has put it there.

Only Google's authentication library is needed for that; Google's storage library would double what the image installs
for it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from components.shared.errors import InputError, StepFailed

if TYPE_CHECKING:
    import requests

ORIGIN = "https://storage.googleapis.com"
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
_TIMEOUT_S = 60.0
_ATTEMPTS = 5
_BUSY = (408, 429, 500, 502, 503, 504)


def open_session() -> "requests.Session":
    """Return a session with the credentials that Google's libraries find here, as those of the container's account.

    Raises:
        StepFailed: If there are none.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except GoogleAuthError as error:
        raise StepFailed(
            f"no credentials to read the model package ({error}); run the container with a service account."
        ) from None
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    retry = Retry(total=_ATTEMPTS, backoff_factor=0.2, status_forcelist=_BUSY, raise_on_status=False)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def copy_folder(uri: str, folder: Path, session: "requests.Session", origin: str = ORIGIN) -> None:
    """Copy all objects below a prefix into a folder, which need not exist.

    Args:
        uri: ``gs://bucket/prefix``
        folder: Gets the files, with the names that they have below the prefix.
        session: Authenticates the requests.
        origin: Scheme and host of the service.

    Raises:
        InputError: If the URI is invalid, or an object has a name that leads out of the folder.
        StepFailed: If there is nothing, or it cannot be read.
    """
    import requests
    from google.auth.exceptions import GoogleAuthError

    bucket, _, prefix = uri.removeprefix("gs://").rstrip("/").partition("/")
    if not uri.startswith("gs://") or not bucket or not prefix:
        raise InputError(f"the model package is at {uri!r}; expected gs://bucket/prefix.")
    objects = f"{origin}/storage/v1/b/{quote(bucket, safe='')}/o"
    try:
        names = list(_names(session, objects, f"{prefix}/"))
        for name in names:
            path = (folder / name.removeprefix(f"{prefix}/")).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise InputError(f"the bucket holds {name!r}, which leads out of the folder of {uri}; remove it.")
            path.parent.mkdir(parents=True, exist_ok=True)
            address = f"{objects}/{quote(name, safe='')}"
            with session.get(address, params={"alt": "media"}, stream=True, timeout=_TIMEOUT_S) as answer:
                answer.raise_for_status()
                with path.open("wb") as file:
                    shutil.copyfileobj(answer.raw, file)
    except (requests.RequestException, GoogleAuthError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StepFailed(
            f"the model package {uri} cannot be read ({reason}); check the address, and that the container's service "
            "account may read it (roles/storage.objectViewer)."
        ) from error
    if not names:
        raise StepFailed(f"there is no model package at {uri}; upload the model again.")


def _names(session: "requests.Session", objects: str, prefix: str) -> Iterator[str]:
    """List the objects below a prefix; what ends with a slash stands for a folder and holds nothing."""
    query = {"prefix": prefix, "fields": "items(name),nextPageToken"}
    while True:
        answer = session.get(objects, params=query, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        page = answer.json()
        yield from (item["name"] for item in page.get("items", ()) if not item["name"].endswith("/"))
        if "nextPageToken" not in page:
            return
        query["pageToken"] = page["nextPageToken"]
