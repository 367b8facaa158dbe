"""Why the embedded servers do not start. Each text is one line that says what to do."""


class ServiceUnavailableError(Exception):
    """This machine cannot run the server."""


class AlreadyRunningError(Exception):
    """Another process runs the servers of this data folder."""
