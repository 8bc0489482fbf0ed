"""One run: its folders, ports, backend and peers, and rounds in which the peers take turns."""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import checks
import tokens
from backend import Backend
from load import Generators, Load
from machine import Failure, Process, allow_many_files, cores
from peers import HERE, PEERS, Peer
from selftest import check_generator
from template import render_files

# Requests a second of one user: so many that no load is refused.
NO_LIMIT = "100000"
# What takes a peer out of a job, and not the run with it: a wrong answer, none, or a load generator that hangs.
FAULTS = (Failure, OSError, http.client.HTTPException, subprocess.SubprocessError)


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: int
    base_port: int
    built: Path
    """Folder of the release binaries."""
    short: bool


@dataclass
class Running:
    """A peer that runs, with one of its configs."""

    peer: Peer
    process: Process
    folder: Path
    port: int
    values: dict[str, str]
    starting: float
    """Seconds from its start to its first right answer."""

    def measure(self, load: Callable[[], Load], errors_count: bool = False) -> tuple[Load, float, float]:
        """Under that load: what it did, CPU microseconds for each answer, and the share of its core that was busy.

        An error is a failure, but where errors are among what is measured.
        """
        cpu, started = self.process.cpu_seconds(), time.monotonic()
        result = load()
        spent, took = self.process.cpu_seconds() - cpu, time.monotonic() - started
        if not self.process.alive():
            raise Failure(f"ended under load: {self.process.tail()}")
        if (result.errors and not errors_count) or not result.answered:
            raise Failure(f"{result.errors} errors under load, {result.answered} answered")
        return result, spent * 1e6 / result.answered, spent / took


@dataclass
class Results:
    """What was measured in one job: for each peer and metric a value for each round."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, peer: str, metrics: dict[str, float]) -> None:
        for metric, value in metrics.items():
            self.values.setdefault(peer, {}).setdefault(metric, []).append(value)


class Bench:
    """Everything that the jobs need."""

    def __init__(self, options: Options, chosen: list[str]):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="tollgate-compare-"))
        # nginx drops root's rights, and has files to read in there.
        self.folder.chmod(0o711)
        self.proxy_core, self.load_core = cores()
        # This program itself is part of the load.
        os.sched_setaffinity(0, {int(core) for core in self.load_core.split(",")})
        self.ports = port_plan(options.base_port)
        self.absent: dict[str, str] = {}
        self.load_average = os.getloadavg()[0]
        """Before the run: what else the machine does."""
        self.wrong: list[str] = []
        """Answers that were not right: with these a run has failed."""
        self.programs: dict[str, Path] = {}
        self.versions: dict[str, str] = {}
        self.peers = [peer for peer in PEERS if self.found(peer, chosen)]
        self.starts = 0
        allow_many_files()
        say("keys, tokens and load generator")
        tokens.make_keys(self.folder)
        self.tokens = tokens.make_tokens(self.folder)
        self.generators = Generators(self.load_core, self.folder)
        check_generator(self.generators, self.folder)
        self.backend = Backend(self.folder, self.ports, self.load_core)

    def found(self, peer: Peer, chosen: list[str]) -> bool:
        if chosen and peer.name not in chosen:
            return False
        try:
            self.programs[peer.name] = peer.locate(self.options.built)
            self.versions[peer.name] = peer.version_of(self.programs[peer.name])
        except (Failure, OSError) as failure:
            self.absent[peer.name] = str(failure)
            say(f"{peer.name}: {failure}")
        return peer.name in self.programs

    def close(self) -> None:
        if hasattr(self, "backend"):
            self.backend.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def values(self, folder: Path, **changes: str) -> dict[str, str]:
        """What the markers in the configs stand for."""
        values = {name: str(port) for name, port in self.ports.items()}
        for name in ("LISTEN", "ADMIN", "REGISTRY", "GRPC"):
            values[name] = f"127.0.0.1:{self.ports[f'{name}_PORT']}"
        for i in (1, 2, 3, 4):
            port = changes.get(f"UPSTREAM{i}_PORT", values[f"INSTANCE{i}"])
            values |= {f"UPSTREAM{i}_PORT": port, f"UPSTREAM{i}": f"127.0.0.1:{port}"}
        files = {"CERTIFICATE": "tls.crt", "KEY": "tls.key", "PEM": "tls.pem"}
        files |= {"PUBLIC_KEY": "jwt.pub", "JWKS": "jwks.json"}
        values |= {name: str(self.folder / file) for name, file in files.items()}
        values |= {"DIR": str(folder), "ISSUER": tokens.ISSUER, "AUDIENCE": tokens.AUDIENCE}
        return values | {"RATE": NO_LIMIT, "BURST": NO_LIMIT, "GENERATION": "0"} | changes

    @contextmanager
    def started(
        self,
        peer: Peer,
        config: str,
        probe: checks.Probe | None,
        prepare: Callable[[Path], None] = lambda folder: None,
        **changes: str,
    ) -> Iterator[Running]:
        """Runs a peer for the length of a `with`, from when it answers the probe as it should.

        `prepare` may add files to its folder; `changes` are other values for its config than usual.
        """
        self.starts += 1
        folder = self.folder / f"start-{self.starts}"
        folder.mkdir()
        values = self.values(folder, **changes)
        render_config(peer, config, folder, values)
        prepare(folder)
        # What a server keeps in its user's home goes with the folder.
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command = peer.command(self.programs[peer.name], config, folder, values)
        began = time.monotonic()
        process = Process(command, self.proxy_core, folder, {**peer.environment, **home})
        try:
            checks.wait_until(self.ports["LISTEN_PORT"], probe, process)
            yield Running(peer, process, folder, self.ports["LISTEN_PORT"], values, time.monotonic() - began)
        finally:
            process.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def take_turns(
        self,
        config: str,
        probe: checks.Probe | None,
        work: Callable[[Running], dict[str, float]],
        rounds: int | None = None,
        results: Results | None = None,
        first: Callable[[Peer], None] | None = None,
        peers: list[Peer] | None = None,
        prepare: Callable[[Path], None] = lambda folder: None,
    ) -> Results:
        """All peers (or those given) with that config, one after the other, as often as there are rounds.

        `first` looks at a peer before its first round; a peer that fails anywhere is out, with the reason.
        """
        results = results or Results()
        for number in range(rounds or self.options.rounds):
            for peer in self.peers if peers is None else peers:
                if not peer.takes_part(config) or peer.name in results.failures:
                    continue
                say(f"  round {number + 1}: {peer.name}")
                try:
                    if number == 0 and first:
                        first(peer)
                    with self.started(peer, config, probe, prepare) as running:
                        results.add(peer.name, work(running))
                except FAULTS as failure:
                    results.failures[peer.name] = str(failure)
                    results.values.pop(peer.name, None)
                    self.wrong.append(f"{config}: {peer.name}: {failure}")
                    say(f"  {peer.name}: {failure}")
        return results


def render_config(peer: Peer, config: str, into: Path, values: dict[str, str]) -> None:
    """Writes the files of a peer's config for a job."""
    if peer.folder:
        name = peer.job if config == "job" else config
        repeats = {"ROUTES": checks.ROUTES, "UPSTREAMS": 100, "INSTANCES": 100}
        render_files(HERE / "peers" / peer.folder, name, into, values, repeats)


def port_plan(base: int) -> dict[str, int]:
    """Every port of a run, in the order in which nginx, nghttpd and the peers take them."""
    names = ("INSTANCE1", "INSTANCE2", "INSTANCE3", "INSTANCE4", "FAULTY", "GRPC_PORT")
    names += ("LISTEN_PORT", "ADMIN_PORT", "REGISTRY_PORT")
    ports = {name: base + place for place, name in enumerate(names, start=1)}
    return ports | {"MANY_FIRST": base + 300, "MANY_LAST": base + 399}


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)
