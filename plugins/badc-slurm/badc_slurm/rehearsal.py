"""A real SLURM on one machine, for tests and for a rehearsal: emulated nodes, pretended GPUs, no root needed.

Needs Debian's or Ubuntu's packages ``slurmctld slurmd slurm-client``; neither systemd nor munge nor cgroups. Everybody
on this machine who reaches the ports is trusted, so it listens on the loopback interface only. From a shell::

    python -m badc_slurm.rehearsal start     # prints the line that makes sbatch and badc use it
    python -m badc_slurm.rehearsal stop
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

__all__ = ["PACKAGES", "Cluster", "main", "missing"]

PACKAGES = "slurmctld slurmd slurm-client"
ACCOUNTING = "slurmdbd slurm-wlm-mysql-plugin mariadb-server"
_COMMANDS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
_SEARCHED = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))
_PATIENCE_S = 60.0
_LONGEST_ROOT = 70
"""slurmstepd makes a socket below it, and the names of sockets are short."""


def _which(command: str) -> str | None:
    return shutil.which(command, path=os.environ.get("PATH", "") + os.pathsep + _SEARCHED)


def missing(*, accounting: bool = False) -> list[str]:
    """Return SLURM's commands that are not installed here; with accounting, also what that needs."""
    wanted = (*_COMMANDS, *(("slurmdbd", "mariadbd", "mariadb-install-db") if accounting else ()))
    return [command for command in wanted if _which(command) is None]


def _free_ports(count: int) -> int:
    """Return the first of so many neighbouring ports that nobody uses just now."""
    for first in range(24_000 + os.getpid() % 5_000, 60_000, count + 1):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    one = stack.enter_context(socket.socket())
                    one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise OSError("there are no free ports")


@define
class Cluster:
    """A cluster of one controller and some nodes, all on this machine.

    Parameters
    ----------
    root
        A folder of its own, with a short path.
    nodes, cpus, gpus
        How many nodes, and what each pretends to have.
    max_array
        SLURM's ``MaxArraySize``: one more than the largest index.
    accounting
        Whether ``sacct`` shall work: with a database of its own.
    extra
        Further lines of ``slurm.conf``.
    """

    root: Path
    nodes: int = 4
    cpus: int = 4
    gpus: int = 2
    max_array: int = 1001
    accounting: bool = False
    extra: Sequence[str] = ()
    _port: int = 0
    _started: dict[str, subprocess.Popen[bytes]] = field(factory=dict)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment to use this cluster."""
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": f"{os.environ.get('PATH', '')}:{_SEARCHED}"}

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    # ---------------------------------------------------------------------------------------- start, stop

    def start(self) -> None:
        """Start the controller and all nodes, and wait until they are ready.

        Raises
        ------
        RuntimeError
            They do not come up; the logs lie in ``log/`` below the root.
        """
        if len(str(self.root)) > _LONGEST_ROOT:
            raise RuntimeError(f"{self.root} is too long a path for SLURM's sockets")
        for name in ("run", "log", "ctld", "dev", *(f"spool/{node}" for node in self.names)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._port = self._port or self._known_port() or _free_ports(self.nodes + 3)
        (self.root / "port").write_text(str(self._port))
        (self.root / "slurm.conf").write_text(self._configuration())
        (self.root / "gres.conf").write_text(self._devices())
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in self.names:
            self.start_node(node)
        self.until(self._ready, "nodes are not ready")

    def stop(self) -> None:
        """End all jobs, then all daemons. Idempotent."""
        if self.alive("slurmctld"):
            with contextlib.suppress(subprocess.SubprocessError):
                self.ask("scancel", "--full", "-u", getpass.getuser())
                self.until(lambda: not self.ask("squeue", "-h").strip(), "jobs do not end", 15.0, strict=False)
        for node in self.names:
            self.end(f"slurmd-{node}")
        for daemon in ("slurmctld", "slurmdbd", "mariadbd"):
            self.end(daemon)

    def heal(self) -> None:
        """End all jobs, start what was killed, and wait until all nodes are ready."""
        self.start_controller()
        self.ask("scancel", "--full", "-u", getpass.getuser())
        for node in self.names:
            self.start_node(node)
            self.ask("scontrol", "update", f"nodename={node}", "state=resume")
        self.until(lambda: not self.ask("squeue", "-h").strip(), "jobs do not end")
        self.until(self._ready, "nodes are not ready")

    def start_controller(self) -> None:
        """Start the controller, and wait until it answers."""
        self._start("slurmctld", "slurmctld", "-D")
        self.until(lambda: "UP" in self.ask("scontrol", "ping"), "the controller does not answer")

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._start(f"slurmd-{node}", "slurmd", "-D", "-N", node)

    def end(self, daemon: str, number: int = signal.SIGTERM) -> None:
        """End a daemon: ``slurmctld`` or ``slurmd-n1``; with ``SIGKILL`` as a machine that loses power."""
        pid = self._pid(daemon)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            self.until(lambda: not self.alive(daemon), f"{daemon} does not end", 10.0, strict=False)
            if self.alive(daemon):
                os.kill(pid, signal.SIGKILL)
        (self.root / "run" / f"{daemon}.badc").unlink(missing_ok=True)

    def _start_accounting(self) -> None:
        """Start a database, and the daemon that keeps accounts in it."""
        root, me = self.root, getpass.getuser()
        data, to_socket = f"--datadir={root / 'db'}", f"--socket={root / 'run' / 'db.sock'}"
        small = ("--no-defaults", data, f"--user={me}", "--innodb-log-file-size=8M")
        if not (root / "db" / "mysql").exists():
            self.ask("mariadb-install-db", *small, "--auth-root-authentication-method=normal", "--skip-test-db")
        port = self._port + self.nodes + 2
        listening = ("--bind-address=127.0.0.1", f"--port={port}", to_socket, "--skip-networking=0")
        self._start("mariadbd", "mariadbd", *small, *listening, "--skip-grant-tables")
        ping = ("mariadb-admin", "--no-defaults", to_socket, "ping")
        self.until(lambda: "alive" in self.ask(*ping), "the database does not answer")
        settings = {
            "AuthType": "auth/none",
            "CommunicationParameters": "NoInAddrAny",
            "DbdHost": "localhost",
            "DbdPort": self._port + self.nodes + 1,
            "SlurmUser": me,
            "LogFile": root / "log" / "slurmdbd.log",
            "PidFile": root / "run" / "slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": port,
            "StorageUser": "root",
            "StorageLoc": "slurm_acct",
        }
        path = root / "slurmdbd.conf"
        path.touch(0o600)
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._start("slurmdbd", "slurmdbd", "-D")
        self.until(lambda: "rehearsal" in self._accounts(), "accounting does not answer")

    def _accounts(self) -> str:
        self.ask("sacctmgr", "-i", "add", "cluster", "rehearsal")
        return self.ask("sacctmgr", "-n", "show", "cluster")

    def _start(self, daemon: str, *words: str) -> None:
        if self.alive(daemon):
            return
        program = _which(words[0])
        if program is None:
            raise RuntimeError(f"{words[0]} is not installed: apt-get install {PACKAGES}")
        with (self.root / "log" / f"{daemon}.out").open("ab") as out:
            process = subprocess.Popen(
                [program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self._started[daemon] = process
        (self.root / "run" / f"{daemon}.badc").write_text(str(process.pid))

    # ---------------------------------------------------------------------------------------- asking

    def ask(self, *words: str) -> str:
        """Run a command of SLURM's, and return what it prints."""
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout

    def alive(self, daemon: str) -> bool:
        """Whether a daemon runs."""
        started = self._started.get(daemon)
        if started is not None:
            return started.poll() is None
        pid = self._pid(daemon)
        if pid is None:
            return False
        try:
            state = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return (
            state.partition("(")[2].startswith(daemon.partition("-")[0])
            and state.rpartition(")")[2].split()[0] not in "ZX"
        )

    def _pid(self, daemon: str) -> int | None:
        try:
            return int((self.root / "run" / f"{daemon}.badc").read_text())
        except (OSError, ValueError):
            return None

    def until(
        self, ready: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S, *, strict: bool = True
    ) -> bool:
        """Wait for something; raise :class:`RuntimeError` when it does not come, or return ``False`` unless strict."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if ready():
                return True
            time.sleep(0.1)
        if strict:
            raise RuntimeError(f"{what}, after {patience_s:g} s; see {self.root / 'log'}")
        return False

    def _ready(self) -> bool:
        states = self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split()
        return len(states) == self.nodes and all(state in ("idle", "mix", "alloc") for state in states)

    def _known_port(self) -> int:
        try:
            return int((self.root / "port").read_text())
        except (OSError, ValueError):
            return 0

    # ---------------------------------------------------------------------------------------- files

    def _devices(self) -> str:
        """Return ``gres.conf``: a link to the null device is device enough."""
        for number in range(self.gpus):
            link = self.root / "dev" / f"gpu{number}"
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")
        if not self.gpus:
            return ""
        return f"NodeName=n[1-{self.nodes}] Name=gpu File={self.root}/dev/gpu[0-{self.gpus - 1}]\n"

    def _configuration(self) -> str:
        root, me = self.root, getpass.getuser()
        settings: dict[str, object] = {
            "ClusterName": "rehearsal",
            "SlurmctldHost": "localhost",
            "SlurmctldPort": self._port,
            "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
            "AuthType": "auth/none",
            "CredType": "cred/none",
            "AuthInfo": "cred_expire=5",  # a task that is put back waits for that, which is two minutes by default
            "SlurmUser": me,
            "SlurmdUser": me,
            "ProctrackType": "proctrack/linuxproc",
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": "task=1",
            "JobAcctGatherParams": "OverMemoryKill",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": 500,
            "GresTypes": "gpu",
            "SlurmdParameters": "config_overrides",  # nodes may claim more than this machine has
            "ReturnToService": 2,
            "SlurmdTimeout": 10,
            "KillWait": 5,
            "MaxArraySize": self.max_array,
            "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=100000,bf_interval=1",
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "JobCompType": "jobcomp/none",
            "StateSaveLocation": root / "ctld",
            "SlurmdSpoolDir": root / "spool" / "%n",
            "SlurmctldPidFile": root / "run" / "slurmctld.pid",
            "SlurmdPidFile": root / "run" / "slurmd-%n.pid",
            "SlurmctldLogFile": root / "log" / "slurmctld.log",
            "SlurmdLogFile": root / "log" / "slurmd-%n.log",
        }
        first, last = self._port + 1, self._port + self.nodes
        ports = f"[{first}-{last}]" if self.nodes > 1 else str(first)
        names = f"n[1-{self.nodes}]" if self.nodes > 1 else "n1"
        gres = f" Gres=gpu:{self.gpus}" if self.gpus else ""
        if self.accounting:
            settings["AccountingStorageType"] = "accounting_storage/slurmdbd"
            settings["AccountingStorageHost"] = "localhost"
            settings["AccountingStoragePort"] = self._port + self.nodes + 1
        lines = [f"{key}={value}" for key, value in settings.items()]
        lines += [
            f"NodeName={names} NodeHostname=localhost Port={ports} CPUs={self.cpus} "
            f"RealMemory={self.cpus * 2000}{gres}",
            "PartitionName=main Nodes=ALL Default=YES MaxTime=1:00:00 DefaultTime=5 PriorityTier=2",
            "PartitionName=low Nodes=ALL MaxTime=1:00:00 DefaultTime=5 PriorityTier=1",
            *self.extra,
        ]
        return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start or stop the cluster of a rehearsal, in the folder of temporary files."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    root = Path(os.environ.get("BADC_REHEARSAL", f"{tempfile.gettempdir()}/badc-slurm-{getpass.getuser()}"))
    cluster = Cluster(root)
    if words == ["stop"]:
        cluster.stop()
        return 0
    if words != ["start"]:
        print("usage: python -m badc_slurm.rehearsal start|stop", file=sys.stderr)
        return 2
    if missing():
        print(f"SLURM is not installed: sudo apt-get install --no-install-recommends {PACKAGES}", file=sys.stderr)
        return 1
    cluster.start()
    print(f"export SLURM_CONF={root / 'slurm.conf'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
