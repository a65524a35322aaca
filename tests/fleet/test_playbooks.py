"""The playbooks that are shipped, with their example, as a user runs them: three hosts, one exec channel each and play."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from controlled import Fleet

ROOT = Path(__file__).parents[2]
SERVERS = ["web1", "web2", "web3"]


class Players(Fleet):
    """Three hosts, and a folder with the playbooks."""

    def __init__(self, hosts, folder):
        """Copy the playbooks; the inventory is the example's."""
        shutil.copytree(ROOT / "playbooks", folder / "playbooks")
        super().__init__(hosts, folder)
        self.inventory((ROOT / "playbooks/example/inventory.yml").read_text())
        self.shop = folder / "playbooks/example/shop.yml"

    def play(self, name, code=0, **variables):
        """Carry out a playbook with these variables, and give what it says: as JSON, and by tasks."""
        options = ["-e", json.dumps(variables)] if variables else []
        return Played(self.nsprov("play", f"playbooks/{name}.yml", "-o", "json", *options, code=code).json)

    def workloads(self):
        """Give the servers by node."""
        return {row["node"]: row for row in self.nsprov("ps", "--lab", "shop", "-o", "json").json["workloads"]}

    def began(self):
        """Say since when each server runs."""
        return {node: row["since"] for node, row in self.workloads().items()}


class Played:
    """What a playbook came to."""

    def __init__(self, said):
        """Store it."""
        self.said = said
        self.stats = said["stats"]

    def task(self, name):
        """Give the last result of a task of each host."""
        found = {}
        for task in (task for play in self.said["plays"] for task in play["tasks"] if task["task"] == name):
            found.update(task["hosts"])
        return found

    def count(self, what):
        """Give one column of the recap."""
        return {host: counts[what] for host, counts in self.stats.items()}


@pytest.fixture(scope="module", name="players")
def _players(lab, tmp_path_factory):
    """Give the hosts, and fail if the last test leaves anything."""
    found = Players(lab, tmp_path_factory.mktemp("players"))
    yield found
    found.check()


@pytest.fixture(scope="module", name="shop")
def _shop(players):
    """Bring the example up; `ci-teardown.yml` is the last that gets it."""
    players.nsprov("up", players.shop, "-q")
    yield players
    players.nsprov("down", "--lab", "shop", "-q")


# Not the kernel's own sysctls, which these hosts share with the machine.
PREPARED = {
    "target": "lab1:lab2",
    "lab_packages": ["iproute2"],
    "lab_sysctls": [{"name": "net.ipv4.ip_forward", "value": 1}, {"name": "net.ipv4.no_such", "value": 1}],
}
WRITTEN = ("etc/sysctl.d/60-nsprov.conf", "etc/modules-load.d/nsprov.conf", "var/lib/nsprov-prepare")
_DEB = """
mkdir -p /tmp/deb/DEBIAN
printf 'Package: nsprov-tried\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n' > /tmp/deb/DEBIAN/control
dpkg-deb -b /tmp/deb /tmp/tried.deb && dpkg -i /tmp/tried.deb
echo nsprov-tried > /var/lib/nsprov-prepare/packages
"""


def forwards(players):
    """Say whether each host forwards packets."""
    return [host.run("cat /proc/sys/net/ipv4/ip_forward").strip() for host in players.hosts[:2]]


def test_prepare_a_host_and_undo_it(players):
    """It sets what is there, now and for later, needs no network, does nothing a second time, and can be taken back."""
    before = forwards(players)
    first = players.play("prepare-lab-host", **PREPARED)
    done = forwards(players)
    again = players.play("prepare-lab-host", **PREPARED)
    written = (players.hosts[0].root / WRITTEN[0]).read_text()
    players.hosts[0].run(_DEB)  # as if it had been installed
    players.play("prepare-lab-host", undo=True, **PREPARED)

    assert min(first.count("changed").values()) > 0
    assert "net.ipv4.ip_forward = 1\n" in written
    assert "no_such" not in written
    assert done == ["1", "1"]
    assert again.count("changed") == dict.fromkeys(again.stats, 0)
    assert forwards(players) == before
    assert not any((host.root / path).exists() for host in players.hosts for path in WRITTEN)
    assert "nsprov-tried" not in players.hosts[0].run(
        "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep ' installed'"
    )


def test_a_lab_goes_up_and_down(players):
    """Up, with parts that reach each other within a host and across; down by its file, and proved to be gone."""
    pings = [{"from": "shop-client1", "to": "10.63.9.1"}, {"from": "shop-client3", "to": "10.63.3.10"}]
    up = players.play("lab-up", topology=str(players.shop), pings=pings)
    names = [players.netns(number) for number in range(3)]
    again = players.play("lab-up", topology=str(players.shop), pings=pings)
    wrong = players.play(
        "lab-up", code=5, topology=str(players.shop), tries=1, pings=[{"from": "shop-client3", "to": "10.63.9.9"}]
    )
    down = players.play("lab-down", topology=str(players.shop))

    assert names == [["shop-client1", "shop-web1"], ["shop-client2", "shop-web2"], ["shop-client3", "shop-web3"]]
    assert all(result["changed"] for result in up.task("Bring it up").values())
    assert again.count("changed") == dict.fromkeys(again.stats, 0)
    assert wrong.count("failed")["lab3"] == 1
    assert {result["msg"] for result in down.task("Nothing of it is left").values()} == {"nothing is left"}


def test_workloads_are_restarted_one_at_a_time(shop):
    """Host after host, each only when the one before is ready again; on each host at one exec channel."""
    before, channels = shop.began(), [host.sessions() for host in shop.hosts]
    shop.play("rolling-upgrade", lab="shop", settle=0.1)
    used = [host.sessions() - was for host, was in zip(shop.hosts, channels, strict=True)]
    after = shop.began()

    assert used == [1, 1, 1]
    assert [node for node in SERVERS if after[node] > before[node]] == SERVERS
    assert sorted(SERVERS, key=after.get) == SERVERS
    assert {row["state"] for row in shop.workloads().values()} == {"ready"}


def test_an_upgrade_stops_at_the_first_host_that_is_ill(shop):
    """What runs on hosts behind it goes on as before."""
    tasks = shop.nsprov.write("upgrade.yml", "- {command: mv /srv /srv.gone, when: inventory_hostname == 'lab2'}\n")
    before = shop.began()
    try:
        played = shop.play("rolling-upgrade", code=5, lab="shop", settle=0.1, upgrade=str(tasks))
    finally:
        shop.hosts[1].run("mv /srv.gone /srv")
    after = shop.began()
    shop.nsprov("wait", "--lab", "shop", "web2/app", "--for", "ready")

    assert "web2/app" in played.task("Restart")["lab2"]["msg"]
    assert (after["web1"] > before["web1"], after["web3"]) == (True, before["web3"])
    assert "lab3" not in played.stats


def test_a_lab_takes_harm(shop):
    """Links that were cut work again, also across hosts; what was killed is back; a route that went is put back."""
    before = shop.workloads()
    cuts = [
        {"netns": "shop-web1", "interface": "eth0", "from": "shop-client1", "to": "10.63.1.10"},
        {"netns": "shop-client2", "interface": "eth1", "from": "shop-client2", "to": "10.63.9.0"},
    ]
    played = shop.play("chaos", lab="shop", topology=str(shop.shop), cuts=cuts, kills=["web1/app", "web3/app"])
    after = shop.workloads()

    assert [after[node]["restarts"] - before[node]["restarts"] for node in SERVERS] == [1, 0, 1]
    assert played.task("Nothing gets through")["lab2"]["rc"] != 0
    assert played.task("The lab is as its file says")["lab1"]["changed"], "the default route went with the link"
    assert "default via 10.63.1.1" in shop.hosts[0].run("ip -n shop-web1 route")


def test_nothing_of_nsprov_is_left_on_a_machine(shop):
    """All labs, of whatever names, pins, and what is kept for the next run; again, and there is nothing to do."""
    shop.nsprov("up", shop.nsprov.write("other.yml", "name: other\nnodes: {o: {host: lab3}}\n"), "-q")
    shop.hosts[2].run("rm /run/nsprov/other/manifest.json")  # there is no record of it
    stays = shop.hosts[2].run("ip netns exec shop-web3 sleep 1000 >/dev/null 2>&1 & echo $!").strip()
    pid = shop.hosts[1].run("unshare -n sleep 1000 >/dev/null 2>&1 & echo $!").strip()
    shop.nsprov("attach", pid, "--name", "kept", "--host", "lab2")
    ill = shop.play("ci-teardown", code=5)
    shop.hosts[2].run(f"kill {stays}")
    again = shop.play("ci-teardown")
    shop.hosts[1].run(f"kill {pid}")

    assert ill.count("failed") == {"lab1": 0, "lab2": 0, "lab3": 1}
    assert 'link "lo" is there' in ill.task("Nothing is left of any lab")["lab3"]["msg"]
    assert ill.task("Say what has gone")["lab2"]["msg"] == "@kept, shop"
    assert again.task("Say what has gone")["lab3"]["msg"] == "there was nothing"
    assert [
        sorted(name for name in ("run/nsprov", "run/netns", "var/cache/nsprov") if (host.root / name).exists())
        for host in shop.hosts
    ] == [[]] * 3
