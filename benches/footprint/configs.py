"""The configs that are measured, as text: small, with many routes, with many instances."""

def head(listener, admin, threads=None, tls=None):
    """Everything but routes. No access log: a terminal or a disk is not what is measured."""
    text = f'[listener.http]\naddress = "127.0.0.1:{listener}"\nkeep_alive = "10m"\n'
    if tls:
        text += f'tls = {{ certificate = "{tls[0]}", key = "{tls[1]}" }}\n'
    text += f'\n[admin]\naddress = "127.0.0.1:{admin}"\n\n[access_log]\noutput = "off"\n\n'
    if threads:
        text += f"[server]\nthreads = {threads}\n\n"
    return text


def upstream(name, *ports):
    instances = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f"[upstream.{name}]\ninstances = [{instances}]\n\n"


def everything(to):
    return f'[[route]]\nname = "everything"\npath = "/**"\nto = "{to}"\n\n'


# What a route may have besides, of what costs memory.
POLICIES = (
    'circuit_breaker = { failure_rate = "50%", minimum_calls = 20, open_for = "10s" }\n'
    'request_headers = { set = { x-route = "bench" } }\n'
)


def routes(count, upstreams, edition=0, extra=""):
    """Routes as a fleet has them: hosts with a hundred paths each, every path to one of the upstreams.

    Another edition differs in one route's name, as an operator's edit does.
    """
    parts = []
    for number in range(count):
        name = f"route-{number}" if number or not edition else f"route-{number}-{edition}"
        parts.append(
            f'[[route]]\nname = "{name}"\nhost = "host-{number // 100}.bench.test"\n'
            f'path = "/service-{number}/**"\nto = "upstream-{number % upstreams}"\n{extra}\n'
        )
    return "".join(parts)


def fleet(routes_count, upstreams, listener, admin, backend, edition=0, extra="", **options):
    """Many routes over some upstreams of one instance each."""
    declared = "".join(upstream(f"upstream-{number}", backend) for number in range(upstreams))
    return head(listener, admin, **options) + declared + routes(routes_count, upstreams, edition, extra)


def services(count, kind, listener, admin):
    """A registry, and one route for each of its services."""
    text = head(listener, admin) + f"[registry.main]\n{kind}\n\n"
    for number in range(count):
        text += (
            f'[[route]]\nname = "service-{number}"\npath = "/service-{number}/**"\n'
            f'to = "service-{number}"\n\n'
        )
    return text


def address(number):
    """One of many addresses on which nobody listens."""
    return f"10.{number >> 14 & 255}.{number >> 7 & 127}.{number & 127}:8080"


def instance(number, weight=1):
    """An entry of a `file` registry, with metadata as registries have it."""
    return (
        f'{{"address": "{address(number)}", "weight": {weight}, '
        f'"metadata": {{"zone": "z{number % 3}", "version": "1.4.2"}}}}'
    )


def instances(entries, each):
    """The content of a `file` registry: JSON, the same number of instances for each service."""
    services = (
        f'"service-{start // each}": [{", ".join(entries[start:start + each])}]'
        for start in range(0, len(entries), each)
    )
    return "{" + ",\n".join(services) + "}\n"
