"""Objects of Google Cloud Storage over its JSON API: copy folders, and change one object at a time by its generation.

Only Google's authentication library is needed for that, which is pure Python; Google's storage library would double
what the model server's image installs for it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from components.shared.errors import InputError, StepFailed

if TYPE_CHECKING:
    import requests

ORIGIN = "https://storage.googleapis.com"
READ = "https://www.googleapis.com/auth/devstorage.read_only"
WRITE = "https://www.googleapis.com/auth/devstorage.read_write"
ABSENT = 0
"""Generation of an object that does not exist."""
_TIMEOUT_S = 60.0
_ATTEMPTS = 5
_CHUNK = 2**20
_BUSY = (408, 429, 500, 502, 503, 504)


class GenerationChanged(StepFailed):
    """Somebody else changed an object since it was read."""


class StoredObject(NamedTuple):
    """An object's content, and the generation that a change of it must name."""

    content: bytes
    generation: int


def open_session(scope: str) -> "requests.Session":
    """Return a session with the credentials that Google's libraries find here, as those of the container's account.

    Args:
        scope: ``READ`` or ``WRITE``.

    Raises:
        InputError: If there are none.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    try:
        credentials, _ = google.auth.default(scopes=(scope,))
    except GoogleAuthError as error:
        raise InputError(
            f"no credentials for Google Cloud Storage ({error}); run with a service account, or log in with "
            "'gcloud auth application-default login'."
        ) from None
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    # A change names the generation that it replaces, so it can be repeated, too.
    retry = Retry(
        total=_ATTEMPTS, backoff_factor=0.2, status_forcelist=_BUSY, raise_on_status=False, allowed_methods=None
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


class CloudStorage:
    """The objects that a session may reach.

    Every method raises InputError for an address that is not ``gs://bucket/path``, and StepFailed if the service
    refuses or does not answer.

    Args:
        session: Authenticates the requests.
        origin: Scheme and host of the service.
    """

    def __init__(self, session: "requests.Session", origin: str = ORIGIN) -> None:
        self._session, self._origin = session, origin.rstrip("/")

    def read(self, uri: str) -> StoredObject | None:
        """Return an object, None if it does not exist."""
        bucket, name = _split(uri)
        answer = self._ask("GET", uri, self._object(bucket, name), {"alt": "media"}, absent=True)
        if answer is None:
            return None
        return StoredObject(answer.content, int(answer.headers["x-goog-generation"]))

    def write(self, uri: str, content: bytes, generation: int | None = None) -> int:
        """Write an object and return its new generation.

        Args:
            uri: The object.
            content: Its bytes.
            generation: What it replaces; ``ABSENT`` creates it, None replaces whatever there is.

        Raises:
            GenerationChanged: If the object has another generation.
        """
        bucket, name = _split(uri)
        query = {"uploadType": "media", "name": name}
        if generation is not None:
            query["ifGenerationMatch"] = str(generation)
        address = f"{self._origin}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        answer = self._ask("POST", uri, address, query, body=content)
        assert answer is not None
        return int(answer.json()["generation"])

    def copy_from(self, uri: str, folder: Path) -> None:
        """Copy all objects below a prefix into a folder, which need not exist.

        Raises:
            InputError: If an object has a name that leads out of the folder.
            StepFailed: If no object is there.
        """
        bucket, prefix = _split(uri)
        names = list(self._names(uri, bucket, f"{prefix}/"))
        for name in names:
            path = (folder / name.removeprefix(f"{prefix}/")).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise InputError(f"the bucket holds {name!r}, which leads out of the folder of {uri}; remove it.")
            path.parent.mkdir(parents=True, exist_ok=True)

            def keep(answer: "requests.Response", path: Path = path) -> None:
                with path.open("wb") as file:
                    file.writelines(answer.iter_content(_CHUNK))

            self._ask("GET", uri, self._object(bucket, name), {"alt": "media"}, stream_to=keep)
        if not names:
            raise StepFailed(f"nothing is stored below {uri}; upload the model again.")

    def copy_to(self, folder: Path, uri: str) -> None:
        """Copy all files of a folder to a prefix; files that are there already are replaced."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.write(f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def _names(self, uri: str, bucket: str, prefix: str) -> Iterator[str]:
        """List the objects below a prefix; what ends with a slash stands for a folder and holds nothing."""
        query = {"prefix": prefix, "fields": "items(name),nextPageToken"}
        while True:
            answer = self._ask("GET", uri, f"{self._origin}/storage/v1/b/{quote(bucket, safe='')}/o", query)
            assert answer is not None
            page = answer.json()
            yield from (item["name"] for item in page.get("items", ()) if not item["name"].endswith("/"))
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    def _object(self, bucket: str, name: str) -> str:
        return f"{self._origin}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"

    def _ask(
        self,
        method: str,
        uri: str,
        address: str,
        query: dict[str, str],
        *,
        body: bytes | None = None,
        absent: bool = False,
        stream_to: "Callable[[requests.Response], None] | None" = None,
    ) -> "requests.Response | None":
        """Send one request; None if the object does not exist and ``absent`` says that this is an answer."""
        import requests
        from google.auth.exceptions import GoogleAuthError

        options: dict[str, Any] = {"stream": stream_to is not None, "timeout": _TIMEOUT_S}
        if body is not None:
            options |= {"data": body, "headers": {"Content-Type": "application/octet-stream"}}
        try:
            with self._session.request(method, address, params=query, **options) as answer:
                if answer.status_code == 404 and absent:
                    return None
                if answer.status_code == 412:
                    raise GenerationChanged(f"{uri} was changed by another process meanwhile; run again.")
                answer.raise_for_status()
                if stream_to is not None:
                    stream_to(answer)
                return answer
        except (requests.RequestException, GoogleAuthError) as error:
            reason = " ".join(str(error).split())[:300]
            raise StepFailed(
                f"Google Cloud Storage did not {'read' if body is None else 'write'} {uri} ({reason}); check the "
                "address, and that the account in use may do that (roles/storage.objectUser)."
            ) from error


def _split(uri: str) -> tuple[str, str]:
    """Return the bucket and the name of an object or of a folder.

    >>> _split("gs://models/a/b/")
    ('models', 'a/b')
    """
    bucket, _, name = uri.removeprefix("gs://").rstrip("/").partition("/")
    if not uri.startswith("gs://") or not bucket or not name:
        raise InputError(f"the address in Google Cloud Storage is {uri!r}; expected gs://bucket/path.")
    return bucket, name
