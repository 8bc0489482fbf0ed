"""How each peer is told of instances that come and go: 100 services with 100 instances each."""

import http.client
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from bench import Running
from machine import Failure

SERVICES = INSTANCES = 100


class Feeder:
    """Knows who is there; the kinds below pass it on."""

    def __init__(self, first_port: int):
        self.first_port = first_port
        self.present = [[True] * INSTANCES for _ in range(SERVICES)]

    def prepare(self, folder: Path) -> None:
        """What has to be there before the peer starts."""

    def fill(self, running: Running) -> None:
        """What has to be told once it runs."""

    def change(self, service: int, instance: int) -> None:
        """That instance leaves, or comes back."""
        self.present[service][instance] = not self.present[service][instance]
        self.tell(service, instance)

    def tell(self, service: int, instance: int) -> None:
        raise NotImplementedError

    def ports(self, service: int) -> list[int]:
        return [self.first_port + i for i, there in enumerate(self.present[service]) if there]

    def close(self) -> None:
        """The end of the run."""


class Registering(Feeder):
    """tollgate's embedded registry, by the API with which instances register themselves."""

    connection: http.client.HTTPConnection

    def fill(self, running: Running) -> None:
        self.connection = http.client.HTTPConnection(running.values["REGISTRY"], timeout=5)
        for service in range(SERVICES):
            for instance in range(INSTANCES):
                self.tell(service, instance)

    def tell(self, service: int, instance: int) -> None:
        method = "POST" if self.present[service][instance] else "DELETE"
        # Not ephemeral: nobody here sends the beats of 10,000 instances.
        fields = {"serviceName": f"svc-{service}", "ip": "127.0.0.1", "ephemeral": "false"}
        query = urlencode(fields | {"port": self.first_port + instance})
        self.connection.request(method, f"/nacos/v1/ns/instance?{query}")
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Failure(f"the embedded registry answers {answer.status}: {text[:100]!r}")

    def close(self) -> None:
        self.connection.close()


class RegistryFile(Feeder):
    """tollgate's file registry: one file with all services, written with all changes of the last 200 ms."""

    file: Path
    written = 0.0

    def prepare(self, folder: Path) -> None:
        self.file = folder / "registry.json"
        self.write()

    def tell(self, service: int, instance: int) -> None:
        if time.monotonic() - self.written > 0.2:
            self.write()

    def write(self) -> None:
        services = {f"svc-{s}": [f"127.0.0.1:{port}" for port in self.ports(s)] for s in range(SERVICES)}
        replace(self.file, json.dumps(services))
        self.written = time.monotonic()


class EndpointFiles(Feeder):
    """Envoy's EDS: a file for each service, written with each change."""

    folder: Path

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        for service in range(SERVICES):
            self.tell(service, 0)

    def tell(self, service: int, instance: int) -> None:
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in self.ports(service)
        ]
        assignment = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": f"svc-{service}",
            "endpoints": [{"lb_endpoints": endpoints}],
        }
        replace(self.folder / f"svc-{service}.json", json.dumps({"resources": [assignment]}))


class RuntimeApi(Feeder):
    """HAProxy's runtime API: its servers stand in the config, and are put into maintenance and back."""

    path: str

    def fill(self, running: Running) -> None:
        self.path = str(running.folder / "runtime.sock")

    def tell(self, service: int, instance: int) -> None:
        state = "ready" if self.present[service][instance] else "maint"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(self.path)
            connection.sendall(f"set server svc-{service}/i{instance} state {state}\n".encode())
            answer = connection.recv(4096).strip()
        if answer:
            raise Failure(f"HAProxy's runtime API answers {answer[:100]!r}")


def replace(file: Path, text: str) -> None:
    """Beside and by a rename, so that half a file is never read."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, file)


WAYS: tuple[tuple[str, str, str, Callable[[int], Feeder]], ...] = (
    # The row's name, the peer, the config, and how it is told.
    ("tollgate", "tollgate", "instances", Registering),
    ("tollgate, file registry", "tollgate", "instances-file", RegistryFile),
    ("Envoy", "Envoy", "instances", EndpointFiles),
    ("HAProxy", "HAProxy", "instances", RuntimeApi),
)
