"""The supervisor of the local stack: its configuration file, its life, and the calls to it.

supervisord restarts a program that dies. It does not know when a program is ready, so every program is started by
a call once what it needs is ready (lifecycle.py), never by supervisord itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.stack.model import Program

MARK = "DP_STACK"
"""Environment variable, its value the stack's folder, by which the stack's processes are told from all others."""

# Left behind: they would slow every start (bytecode) or change what the platform sets itself.
UNWANTED_PREFIXES = (
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "AIRFLOW_",
    "SUPERSET_",
    "DBT_",
    "OPENLINEAGE_",
)
SOCKET_PATH_LIMIT = 100


class Supervisor:
    """Talks to the stack's supervisord, which need not run."""

    def __init__(self, settings: StackSettings) -> None:
        self._home = settings.home
        self._root = settings.root
        self.folder = self._home / "supervisor"
        self.logs = self._home / "logs"
        self.socket = self._socket_path()

    def _socket_path(self) -> Path:
        path = self.folder / "supervisor.sock"
        if len(str(path)) < SOCKET_PATH_LIMIT:
            return path
        digest = hashlib.sha256(str(self._home).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"dp-{os.geteuid()}-{digest}" / "supervisor.sock"

    # --- its life --------------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._call("getState")["statename"] in ("RUNNING", "RESTARTING"))
        except (OSError, xmlrpc.client.Error):
            return False

    def ensure_running(self, programs: Iterable[Program]) -> None:
        """Write the configuration and start supervisord, or hand it the new configuration.

        Raises:
            PlatformError: supervisord did not come up; the message carries the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        running = self.is_running()
        changed = self._write_config(programs)
        if running:
            if changed:
                self._reread()
            return
        log = self.logs / "supervisord.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.folder / "supervisord.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=clean_environment({MARK: str(self._home)}),
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while not self.is_running():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PlatformError(f"supervisord did not start:\n{tail(log, 15)}", f"the whole log: {log}")
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Stop every program and supervisord itself, then whatever of the stack is still there."""
        if self.is_running():
            pid = int(self._call("getPID"))
            self._call("shutdown")
            try:
                psutil.Process(pid).wait(90)
            except psutil.NoSuchProcess:
                pass
            except psutil.TimeoutExpired:
                psutil.Process(pid).kill()
        self.sweep()

    def sweep(self) -> int:
        """End the stack's processes that no supervisord watches (it was killed). Returns how many there were."""
        left = [process for process in self.processes() if process.pid != os.getpid()]
        for process in left:
            _quietly(process.terminate)
        _, alive = psutil.wait_procs(left, timeout=20)
        for process in alive:
            _quietly(process.kill)
        psutil.wait_procs(alive, timeout=5)
        return len(left)

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every process that carries this stack's mark."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self._home):
                    yield process
            except (psutil.Error, OSError):
                continue

    # --- its programs ----------------------------------------------------------------------------------------------

    def start(self, program: str) -> None:
        """Start a program; one that runs already is left alone."""
        try:
            self._call("startProcess", program, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise PlatformError(f"{program} could not be started: {fault.faultString}") from fault

    def stop(self, program: str) -> None:
        """Stop a program and wait until it is gone."""
        try:
            self._call("stopProcess", program, True)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString and "BAD_NAME" not in fault.faultString:
                raise PlatformError(f"{program} could not be stopped: {fault.faultString}") from fault

    def states(self) -> dict[str, dict[str, Any]]:
        """Return what supervisor knows of each program: statename, pid, start (seconds since 1970), logfile …"""
        if not self.is_running():
            return {}
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def log_file(self, program: str) -> Path:
        """Return the file that holds a program's output."""
        return self.logs / f"{program}.log"

    # --- inside ----------------------------------------------------------------------------------------------------

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _reread(self) -> None:
        added, changed, removed = self._call("reloadConfig")[0]
        for name in (*changed, *removed):
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)

    def _write_config(self, programs: Iterable[Program]) -> bool:
        programs = list(programs)
        for program in programs:
            self._write_launch_file(program)
        sections = [
            f"[unix_http_server]\nfile={self.socket}\nchmod=0700\n",
            f"[supervisord]\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={self.folder}/supervisord.pid\n"
            f"childlogdir={self.logs}\nminfds=1024\n{'user=root' if os.geteuid() == 0 else ''}\n",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
            *(self._section(program) for program in programs),
        ]
        text = "\n".join(sections)
        path = self.folder / "supervisord.conf"
        if path.exists() and path.read_text() == text:
            return False
        path.write_text(text)
        return True

    def _launch_file(self, program: Program) -> Path:
        return self.folder / f"{program.name}.json"

    def _write_launch_file(self, program: Program) -> None:
        spec = {
            "command": program.command,
            "environment": clean_environment({**program.environment, MARK: str(self._home)}),
            "user": program.user,
            "folder": str(program.folder),
        }
        path = self._launch_file(program)
        path.touch(mode=0o600)  # it holds the program's secrets
        path.chmod(0o600)
        path.write_text(json.dumps(spec))

    def _section(self, program: Program) -> str:
        command = shlex.join([sys.executable, "-m", "dataplatform_cli.stack.launch", str(self._launch_file(program))])
        lines = [
            f"[program:{program.name}]",
            f"command={command}",
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            # What keeps dying at once is given up as FATAL after this many starts.
            "startretries=10",
            f"stopsignal={program.stop_signal}",
            f"stopwaitsecs={program.stop_seconds}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={self.log_file(program.name)}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=1",
        ]
        # A percent sign starts an expansion in supervisord's file.
        return "\n".join(line.replace("%", "%%") for line in lines) + "\n"


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what would disturb the stack, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED_PREFIXES)}
    return {**kept, **extra}


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a text file, or an empty text where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 400 * lines))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _quietly(action: Any) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        action()
