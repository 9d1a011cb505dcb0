"""What can go wrong for a reason the user can act on; each class is mapped to one exit code."""


class PerennialError(Exception):
    """Printed as one sentence, without a traceback; every other exception is a bug and keeps its own."""

    exit_code = 5


class InputError(PerennialError):
    """A project file, table, flag or request that does not say what it should."""

    exit_code = 2


class GateRejected(PerennialError):
    """The candidate did not earn its place; the champion stays."""

    exit_code = 3


class DataBlocked(PerennialError):
    """The data has anomalies that the project file says must stop a run."""

    exit_code = 4


class StepFailed(PerennialError):
    """A step, or what it runs on, broke."""

    exit_code = 5
