"""A hold that a live process renews and a dead one loses: what the journals of a cluster and of a bucket share.

The times of two machines are never compared, since their clocks may differ: whoever waits for a hold to be abandoned
watches on its own clock whether the object changes.
"""

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseUnderWay
from components.shared.release.pace import Pace

logger = logging.getLogger(__name__)

Content = TypeVar("Content")


class Look(NamedTuple, Generic[Content]):
    """One read of the object: who holds it (None: nobody), what each change of it changes, and all of it."""

    holder: str | None
    version: str
    content: Content


class RenewedHold(ABC, Generic[Content]):
    """Hold an object that other processes can see.

    Args:
        name: How messages name the object.
        holder: Who holds it; unique to this process.
        pace: How long a hold lasts without a renewal.
        clock: Monotonic time in seconds.
    """

    def __init__(self, name: str, holder: str, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.holder = name, holder
        self.is_held = False
        self.mutex = threading.Lock()
        """Kept by whoever replaces the object, which the thread that renews it does, too."""
        self._pace, self._clock = pace, clock
        self._lost, self._renewed_s = False, 0.0

    @abstractmethod
    def _look(self) -> Look[Content]:
        """Read the object; where it does not exist, create it or return what it would be."""

    @abstractmethod
    def _adopt(self, content: Content) -> None:
        """Let the next replacement be one of this content."""

    @abstractmethod
    def _put(self, holder: str | None, *, acquires: bool = False) -> None:
        """Replace the content that was adopted or put last, and fail if the object is another one by now."""

    @abstractmethod
    def _is_taken(self, failed: StepFailed) -> bool:
        """Return whether a replacement failed because another process has replaced the object."""

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the object, renew it in a thread, and release it at the end."""
        self._acquire()
        over = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(over,), daemon=True, name="release journal")
        renewal.start()
        try:
            yield
        finally:
            over.set()
            renewal.join()
            self.is_held = False
            self._give_back()

    def check(self) -> None:
        """Refuse to go on if another process has taken over, because this one could not renew for too long.

        Raises:
            StepFailed: If it has.
        """
        if self._lost:
            raise StepFailed(
                f"this release lost its lock {self.name} to another one, which finishes it or rolls it back; look at "
                "that run."
            )

    def replace(self, holder: str | None, *, acquires: bool = False) -> None:
        """Replace the object, which renews the hold; the caller has the mutex."""
        self._put(holder, acquires=acquires)
        self._renewed_s = self._clock()

    def _acquire(self) -> None:
        look = self._look()
        if look.holder is not None:
            look = self._await_abandoned(look)
        self._adopt(look.content)
        self._lost = False
        try:
            self.replace(self.holder, acquires=True)
        except StepFailed as failed:
            if self._is_taken(failed):
                raise _under_way(self._look().holder) from None
            raise
        self.is_held = True

    def _await_abandoned(self, look: Look[Content]) -> Look[Content]:
        end, version = self._clock() + self._pace.lease_s, look.version
        while self._clock() < end:
            time.sleep(self._pace.poll_s)
            look = self._look()
            if look.holder is None:
                return look
            if look.version != version:
                raise _under_way(look.holder)
        return look

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._pace.lease_s / 4):
            with self.mutex:
                try:
                    self.replace(self.holder)
                except StepFailed as failed:
                    if self._is_taken(failed) or self._clock() - self._renewed_s > self._pace.lease_s:
                        self._lost = True
                        return
                    logger.warning("the lock %s of the release could not be renewed: %s", self.name, failed)

    def _give_back(self) -> None:
        if self._lost:
            return
        try:
            with self.mutex:
                self.replace(None)
        except StepFailed as failed:
            logger.warning(
                "the lock %s of the release could not be released, it expires by itself: %s", self.name, failed
            )


def _under_way(holder: str | None) -> ReleaseUnderWay:
    return ReleaseUnderWay(
        f"another release of this project is under way by {holder or 'another process'!r}; wait for it and run again."
    )
