"""What every measurement needs: programs that run, with their configs, in a folder of their own."""

import socket
import subprocess
from contextlib import contextmanager

import configs
from process import Failure, Ports, Program, answer_of, metric, status_of

UPSTREAMS = 100


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.ports = Ports(*options.ports)
        self.files = None

    @contextmanager
    def backend(self):
        port = self.ports.free()
        script = self.options.here / "backend.py"
        command = [self.options.python, script, port]
        with Program(command, self.folder, "backend", self.options.load_core) as program:
            program.until("the backend", lambda: status_of(port) == 200)
            yield port

    @contextmanager
    def bare(self, backend, tls=None):
        """The floor: pingora with nothing around it."""
        port = self.ports.free()
        command = [self.options.bare, f"127.0.0.1:{port}", f"127.0.0.1:{backend}", *(tls or [])]
        with Program(command, self.folder, "bare", self.options.gateway_core) as program:
            program.until("bare pingora", lambda: accepts(port))
            yield program, port

    def small(self, backend, tls=None):
        def text(port, admin, **_):
            return (
                configs.head(port, admin, threads=1, tls=tls)
                + configs.upstream("service", backend)
                + configs.everything("service")
            )

        return Gateway(self, text)

    def fleet(self, count, backend, extra="", wait=True):
        """Many routes over a hundred upstreams."""

        def text(port, admin, edition=0):
            return configs.fleet(
                count, UPSTREAMS, port, admin, backend, edition, extra, threads=1
            )

        return Gateway(self, text, wait)

    def services(self, count, kind):
        """One route for each service of a registry."""
        return Gateway(self, lambda port, admin, **_: configs.services(count, kind, port, admin))

    def certificate(self):
        """A certificate and its key, made anew: none stands in the repository."""
        if self.files is None:
            self.files = self.folder / "certificate.pem", self.folder / "key.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
                + ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj"]
                + ["/CN=bench.test", "-out", self.files[0], "-keyout", self.files[1]],
                check=True,
                capture_output=True,
            )
        return self.files


class Gateway:
    """A tollgate that runs on a config; `text(port, admin, edition=...)` writes that."""

    def __init__(self, bench, text, wait=True):
        self.bench, self.wait, self.make = bench, wait, text
        self.port, self.admin = bench.ports.free(), bench.ports.free()
        self.path = bench.folder / f"routes-{self.port}.toml"
        self.path.write_text(self.text())

    def text(self, edition=0):
        return self.make(self.port, self.admin, edition=edition)

    def __enter__(self):
        command = [self.bench.options.tollgate, "run", self.path]
        core = self.bench.options.gateway_core
        self.program = Program(command, self.bench.folder, f"tollgate-{self.port}", core)
        if self.wait:
            ready = lambda: status_of(self.admin, "/readyz") == 200
            try:
                self.program.until("readiness", ready)
            except Failure:
                self.program.__exit__()
                raise
        return self

    def __exit__(self, *end):
        self.program.__exit__(*end)

    def ask(self, path="/"):
        if status_of(self.port, path) != 200:
            raise Failure(f"a request is not answered:\n{self.program.log()[-2000:]}")

    def reload(self, edition):
        self.path.write_text(self.text(edition))
        status, body = answer_of(self.admin, "/api/v1/reload", method="POST")
        if status != 200:
            raise Failure(f"the config was refused: {body}")

    def wait_for_instances(self, count):
        enough = lambda: metric(self.admin, "tollgate_upstream_instances") >= count
        self.program.until(f"{count} instances", enough)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
