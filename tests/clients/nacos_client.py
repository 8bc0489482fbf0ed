"""Registers with a Nacos server by nacos-sdk-python, and checks what that server answers.

nacos_client.py ADDRESS
"""

import sys
import time

import nacos

PULSE = {"preserved.heart.beat.timeout": "2000", "preserved.ip.delete.timeout": "3000"}
HELLO = ("hello", "127.0.0.1", 7001)


def hosts(client, **kwargs):
    return client.list_naming_instance("hello", **kwargs)["hosts"]


def eventually(what, check, seconds=10):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


def registers_and_beats(client):
    metadata = {"zone": "a", **PULSE}
    assert client.add_naming_instance(*HELLO, weight=2.5, metadata=metadata, heartbeat_interval=0.3)
    (host,) = hosts(client)
    assert (host["ip"], host["port"], host["weight"]) == ("127.0.0.1", 7001, 2.5), host
    assert host["healthy"] and host["metadata"]["zone"] == "a", host
    assert client.get_naming_instance(*HELLO)["weight"] == 2.5
    # Without its beats it would be removed in this time.
    end = time.monotonic() + 4
    while time.monotonic() < end:
        (host,) = hosts(client, healthy_only=True)
        time.sleep(0.1)


def is_edited(client):
    assert client.modify_naming_instance(*HELLO, weight=0)
    (host,) = hosts(client)
    assert host["weight"] == 0 and host["metadata"]["zone"] == "a", host


def expires_and_comes_back_with_a_beat(client):
    for task in client.heartbeats.values():
        task.stop()
        task.join()
    eventually("unhealthy", lambda: not hosts(client, healthy_only=True))
    eventually("removed", lambda: not hosts(client))
    answer = client.send_heartbeat(*HELLO, weight=3.5)
    assert answer["code"] == 10200 and answer["clientBeatInterval"] == 5000, answer
    (host,) = hosts(client)
    assert host["weight"] == 3.5 and host["healthy"], host


def deregisters(client):
    assert client.remove_naming_instance(*HELLO)
    assert hosts(client) == []


def keeps_groups_and_namespaces_apart(client, address):
    assert client.add_naming_instance(*HELLO, group_name="blue", ephemeral=False)
    assert hosts(client) == []
    (host,) = hosts(client, group_name="blue")
    assert not host["ephemeral"], host
    assert client.remove_naming_instance(*HELLO, group_name="blue", ephemeral=False)
    other = nacos.NacosClient(address, namespace="dev", username="nacos", password="nacos")
    assert other.add_naming_instance(*HELLO)
    assert len(hosts(other)) == 1 and hosts(client) == []


def refuses(client):
    try:
        client.add_naming_instance(*HELLO, weight=float("nan"))
    except nacos.NacosException as error:
        assert "400" in str(error), error
    else:
        raise AssertionError("a weight that is no number was taken")


def main(address):
    client = nacos.NacosClient(address)
    registers_and_beats(client)
    is_edited(client)
    expires_and_comes_back_with_a_beat(client)
    deregisters(client)
    keeps_groups_and_namespaces_apart(client, address)
    refuses(client)


if __name__ == "__main__":
    main(sys.argv[1])
