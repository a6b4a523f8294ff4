"""A process of its own for code that may crash, hang or bring its own threads: other frameworks, functions of users.

    with Worker(timeout=60) as worker:
        y = worker.call("torch.special:expit", x)

Whatever the called function does, the caller gets its value or a `WorkerError` that says what happened.

Imports nothing of npconv.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Client, Connection, Listener
from typing import IO, Any, Literal

LONGEST_WAIT = 1e6  # seconds; systems count them in 31 bits of milliseconds
START_TIMEOUT = 60.0  # seconds that a new process has to call back: nothing but Python and this file is loaded by then
_ADDRESS = "NPCONV_WORKER_ADDRESS"
_KEY = "NPCONV_WORKER_KEY"


class WorkerError(RuntimeError):
    """What went wrong in a worker's process.

    Attributes
    ----------
    kind : "exception" where the function raised one, "hang" where it was not done in time, "death" where its process ended.
    name : the exception's type, or "" where there is none.
    details : the traceback, or the last lines that the process wrote to its standard error.
    """

    def __init__(
        self, kind: Literal["exception", "hang", "death"], message: str, name: str = "", details: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name
        self.details = details


class Worker:
    """Calls functions by name in another process, one at a time, and starts a new process where the last one was lost.

    Parameters
    ----------
    timeout : float
        Seconds that a call may take; after that the process is killed.
    environment : mapping, optional
        Environment variables of the process, besides those of this one; they are set before anything is imported.
    """

    def __init__(self, *, timeout: float = 60.0, environment: Mapping[str, str] | None = None) -> None:
        self.timeout = timeout
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._errors: IO[bytes] | None = None
        self._calls = 0

    def call(self, function: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """The value of ``function(*args, **kwargs)``; `function` is "package.module:name", arguments and value are pickled.

        Raises WorkerError where there is no value.
        """
        connection = self._started()
        seconds = self.timeout if timeout is None else timeout
        try:
            self._calls += 1
            connection.send((self._calls, function, args, kwargs))
            succeeded, answer = self._answer(connection, function, seconds)
        except (EOFError, OSError) as lost:  # the other end is gone
            raise self._death(function) from lost
        except KeyboardInterrupt:
            self.close()  # an answer to this call would be taken for that of the next one
            raise
        if succeeded:
            return answer
        name, message, details = answer
        raise WorkerError("exception", message, name, details)

    def _answer(self, connection: Connection[Any, Any], function: str, seconds: float) -> tuple[bool, Any]:
        """The answer to the last call; a copy of the process, made by the function, may have answered earlier ones, too."""
        deadline = time.monotonic() + min(seconds, LONGEST_WAIT)
        while connection.poll(max(0.0, deadline - time.monotonic())):
            number, succeeded, answer = connection.recv()
            if number == self._calls:
                return succeeded, answer
        self.close()
        raise WorkerError("hang", f"{function} was not done after {seconds:g} s")

    def close(self) -> None:
        """End the process, whatever it is doing. The next call starts a new one."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._errors is not None:
            self._errors.close()
        self._connection = self._process = self._errors = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Connection[Any, Any]:
        if self._connection is not None:
            return self._connection
        key = secrets.token_bytes(16)
        with Listener(None, authkey=key) as listener:
            search_path = os.pathsep.join(entry for entry in sys.path if entry)
            address = {_ADDRESS: str(listener.address), _KEY: key.hex(), "PYTHONPATH": search_path}
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from npconv.workers import serve; serve()"],
                env={**os.environ, **self._environment, **address},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
            self._connection = _first_call(listener, self._process)
        if self._connection is None:
            raise self._death("a new process")
        return self._connection

    def _death(self, function: str) -> WorkerError:
        """What to raise for a process that is gone, once it is cleared away."""
        assert self._process is not None
        assert self._errors is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)  # its end may be under way
        status = self._process.poll()
        self._errors.seek(0)
        details = self._errors.read().decode(errors="replace")[-2000:]
        self.close()
        how = "did not answer" if status is None else f"signal {-status}" if status < 0 else f"exit status {status}"
        return WorkerError("death", f"{function} ended its process: {how}", details=details)


def _first_call(listener: Listener, process: subprocess.Popen[bytes]) -> Connection[Any, Any] | None:
    """The connection that `process` opens, or None where it ends before it does."""
    accepted: list[Connection[Any, Any]] = []

    def accept() -> None:
        with contextlib.suppress(OSError, EOFError):
            accepted.append(listener.accept())

    # `accept` has no timeout, and a process that dies at once never calls.
    waiting = threading.Thread(target=accept, daemon=True)
    waiting.start()
    for _ in range(int(START_TIMEOUT / 0.05)):
        waiting.join(0.05)
        if accepted or process.poll() is not None:
            break
    return accepted[0] if accepted else None


def serve() -> None:
    """What the process does: answer calls until the other end is closed."""
    key = bytes.fromhex(os.environ.pop(_KEY))
    with Client(os.environ.pop(_ADDRESS), authkey=key) as connection, contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            number, function, args, kwargs = connection.recv()
            connection.send((number, *_answer(function, args, kwargs)))


def _answer(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    import pickle
    import traceback

    try:
        value = find(function)(*args, **kwargs)
        pickle.dumps(value)  # what cannot be sent is an error of this call, not of the connection
        return True, value
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        try:
            return False, (type(error).__name__, str(error), traceback.format_exc())
        except Exception:
            return False, (type(error).__name__, "(whose message cannot be printed)", "")


def find(name: str) -> Callable[..., Any]:
    """The function that "package.module:name" names. Raises ValueError, ImportError or AttributeError where there is none."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"a function is named as package.module:function, got {name!r}")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found
