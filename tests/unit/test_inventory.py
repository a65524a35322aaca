"""The inventory: how to reach a host, in Ansible's words and ours; patterns and limits; what is refused, and where."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from nsprov.cli import inventory as command
from nsprov.cli import limits
from nsprov.cli.options import Given, Output
from nsprov.errors import InputError, NothingMatched
from nsprov.inventory import IMPLICIT, Host, Sealed, Secret, load_inventory
from nsprov.inventory.places import Complaints
from nsprov.inventory.script import read_script
from nsprov.inventory.tree import Tree
from nsprov.topology import Bridge, Endpoint, Interface, Link, Node, Topology

TEXT = """
all:
  vars: {ansible_user: root, region: eu}
  hosts:
    lab1: {ansible_host: 10.0.0.1, ansible_port: 2222, ansible_become: true, ansible_become_password: hunter2}
  children:
    west:
      vars: {user: admin}
      hosts:
        lab2: {python: /usr/bin/python3, private_key: ~/.ssh/id, region: us}
        lab3:
"""


@pytest.fixture(name="inventory")
def _inventory(tmp_path, monkeypatch):
    """Give a function that loads an inventory from the texts of files, the first of which is the source."""
    monkeypatch.chdir(tmp_path)

    def make(text, name="hosts.yml", **files):
        for path, content in {name: text, **{key.replace("__", "/"): value for key, value in files.items()}}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content, encoding="utf-8")
            if content.startswith("#!"):
                (tmp_path / path).chmod(0o755)
        return load_inventory([name])

    return make


def complaints(inventory, *names):
    """Give what is said when hosts are asked for that cannot be reached as they say."""
    with pytest.raises(InputError) as caught:
        inventory.made(names)
    assert all(one.hint for one in caught.value.diagnostics)
    return [f"{one.where}: {one.summary}" for one in caught.value.diagnostics]


def test_no_inventory():
    """Without an inventory there is this machine, and nothing is connected to."""
    found = load_inventory()

    assert (IMPLICIT,) == found.select("all") == found.select("*") == found.select("localhost")
    assert IMPLICIT.connection == "local"


def test_hosts(inventory):
    """Hosts have their own values, their groups' under them, in Ansible's words or the short ones."""
    found = inventory(TEXT)
    one, two = found.host("lab1"), found.host("lab2")

    assert (one.address, one.port, one.user, one.become, one.connection) == ("10.0.0.1", 2222, "root", True, "ssh")
    assert (
        two.address,
        two.port,
        two.user,
        two.python,
        two.private_key,
    ) == ("lab2", None, "admin", "/usr/bin/python3", "~/.ssh/id")
    assert (one.variables["region"], two.variables["region"]) == ("eu", "us")


def test_short_words_are_names_beside_words_of_ansible(inventory):
    """A mapping with one word of Ansible's is Ansible's: an application's `port` is no SSH port."""
    found = inventory("all: {hosts: {a: {ansible_host: 10.0.0.1, port: 8080, user: www}, b: {port: 2222, underlay: 10.1.0.1}}}")

    assert (found.host("a").port, found.host("a").user) == (None, None)
    assert (found.host("b").port, found.host("b").underlay) == (2222, "10.1.0.1")


def test_words_of_ansible(inventory):
    """Every name by which Ansible knows a setting, as INI gives it: the last of several names counts, as there."""
    found = inventory(
        """
a ansible_ssh_host=10.0.0.1 ansible_ssh_port="22" ansible_ssh_user=u ansible_ssh_pass=p ansible_connection=ssh
b ansible_host=10.0.0.2 ansible_ssh_host=10.0.0.3 ansible_password=83 ansible_connection=smart ansible_become_pass=q
c ansible_become=yes ansible_become_method=community.general.doas ansible_doas_pass=r ansible_become_user=root
d ansible_connection=ansible.builtin.local ansible_python_interpreter=auto_silent nsprov_weight=3 nsprov_underlay=10.9.0.1
e ansible_private_key_file=~/k ansible_private_key_passphrase=s ansible_connection=paramiko ansible_become_user=postgres
""",
        "hosts",
    )
    a, b, c, d, e = (found.host(name) for name in "abcde")

    assert (a.address, a.port, a.user, a.password.reveal()) == ("10.0.0.1", 22, "u", "p")
    assert (b.address, b.password.reveal(), b.become_password.reveal()) == ("10.0.0.3", "83", "q")
    assert (c.become, c.become_method, c.become_password.reveal()) == (True, "doas", "r")
    assert (d.connection, d.python, d.weight, d.underlay) == ("local", None, 3, "10.9.0.1")
    assert (e.connection, e.private_key, e.passphrase.reveal(), e.become_user) == ("ssh", "~/k", "s", "root")


def test_passwords_are_as_written(inventory):
    """A password that reads like a number keeps its digits."""
    found = inventory("all: {hosts: {a: {ansible_password: 0123, ansible_become_password: 1_000}}}").host("a")

    assert (found.password.reveal(), found.become_password.reveal()) == ("0123", "1_000")


def test_localhost(inventory):
    """Localhost is there by its own name alone, is reached without a connection, and with an address by SSH."""
    plain = inventory("a\n", "hosts")
    listed = inventory("localhost\nother ansible_connection=local\n", "hosts")
    elsewhere = inventory("localhost ansible_host=10.0.0.1\n", "hosts")

    assert plain.host("localhost") is IMPLICIT
    assert [host.name for host in plain.select("all:localhost")] == ["a", "localhost"]
    assert "localhost" not in plain.names("*")
    assert [host.connection for host in listed.select("all")] == ["local", "local"]
    assert elsewhere.host("localhost").connection == "ssh"


def test_templates(inventory):
    """A setting that is a template is filled in with the host's variables, which may be templates, and Ansible's own."""
    found = inventory(
        """
[web]
w1 id=4 ansible_host="{{ inventory_hostname }}.{{ domain }}" ansible_port="{{ base + id }}"
w2.x.y ansible_host="{{ hostvars['w1'].domain }}" ansible_user="{{ lookup('env', 'LAB_USER') | default('nobody', true) }}"
[all:vars]
domain={{ group_names[0] }}.lab
base=2200
ansible_become_password={{ secret | default('none') }}
nsprov_underlay={{ groups['web'] | length }}.{{ inventory_hostname_short }}
unused={{ nowhere }}
""",
        "hosts",
    )
    one, two = found.select("web")

    assert (one.address, one.port, one.become_password.reveal(), one.underlay) == ("w1.web.lab", 2204, "none", "2.w1")
    assert (two.address, two.user, two.underlay) == ("web.lab", "nobody", "2.w2")
    assert found.variables["w1"]["domain"] == "{{ group_names[0] }}.lab"


def test_templates_that_cannot_be_filled_in(inventory):
    """What is undefined, circular, encrypted or looked up elsewhere is said at the place of the setting, for its host."""
    found = inventory("""
all:
  hosts:
    a: {ansible_host: "{{ nowhere }}"}
    b: {ansible_host: "{{ x }}", x: "{{ y }}", y: "{{ x }}"}
    c: {ansible_password: !vault abc}
    d: {ansible_user: "{{ lookup('file', '/etc/shadow') }}"}
    e: {ansible_user: "{{ v }}", v: {deep: [!vault abc]}}
    f: {ansible_user: !unsafe "{{ x }}", other: !vault abc}
""")

    assert complaints(found, *"abcde") == [
        'hosts.yml:4:23: variable "nowhere" is undefined',
        'hosts.yml:5:23: variable "x" asks for itself',
        'hosts.yml:6:27: variable "ansible_password" is encrypted (Ansible Vault)',
        'hosts.yml:7:23: there is no lookup "file"',
        'hosts.yml:8:23: variable "v" is encrypted (Ansible Vault)',
    ]
    assert found.host("f").user == "{{ x }}"
    assert isinstance(found.variables["f"]["other"], Sealed)


def test_what_is_wrong_with_a_host_is_the_trouble_of_who_uses_it(inventory):
    """An odd host does not spoil an inventory; whoever asks for it is told all that is wrong, with line and column."""
    found = inventory("""
all:
  hosts:
    fine: {ansible_become_user: postgres}
    a: {ansible_port: x, ansible_become: perhaps, ansible_connection: winrm, nsprov_weight: 0}
    b: {ansible_port: 70000, ansible_become: true, ansible_become_user: postgres, ansible_become_method: runas}
    d: {ansible_host: -oProxyCommand=x, ansible_user: ""}
    c: {ansible_host: [1], ansible_ssh_common_args: -o ProxyJump=x, ansible_ssh_private_key: abc, ansible_ssh_args: ""}
""")

    assert found.host("fine").become_user == "root"
    assert complaints(found, "a", "fine", "b", "d", "c") == [
        'hosts.yml:5:23: "ansible_port" must be a whole number, not "x"',
        'hosts.yml:5:42: "ansible_become" must be true or false, not "perhaps"',
        'hosts.yml:5:71: connection "winrm" is not supported',
        'hosts.yml:5:93: "nsprov_weight" must be 1 or more',
        "hosts.yml:6:23: 70000 is not a port",
        'hosts.yml:6:73: a host must be entered as root, not as "postgres"',
        'hosts.yml:6:106: the become method "runas" is not supported',
        'hosts.yml:7:23: "ansible_host" cannot be "-oProxyCommand=x"',
        'hosts.yml:7:55: "ansible_user" cannot be ""',
        'hosts.yml:8:23: "ansible_host" must be a text, not a list',
        'hosts.yml:8:53: "ansible_ssh_common_args" cannot be used',
        'hosts.yml:8:94: "ansible_ssh_private_key" cannot be used',
    ]


def test_files_of_variables(inventory):
    """What is wrong in `group_vars` or `host_vars` is said for the hosts that it is about, with its own place."""
    found = inventory(
        "[g]\na\nb\n[h]\nc\n",
        "hosts",
        group_vars__g="ansible_port: x\n",
        host_vars__b__vault="$ANSIBLE_VAULT;1.1;AES256\n6238\n",
        host_vars__c="- a list\n",
    )

    assert complaints(found, "a") == ['group_vars/g:1:15: "ansible_port" must be a whole number, not "x"']
    assert [line.rpartition("/")[2] for line in complaints(found, "b")] == [
        "vault:1:1: the file is encrypted (Ansible Vault)",
        'g:1:15: "ansible_port" must be a whole number, not "x"',
    ]
    assert [line.rpartition("/")[2] for line in complaints(found, "c")] == ["c:1:1: variables must be a mapping"]


def test_select(inventory):
    """A pattern is a host, a group, `all`, or any combination; hosts come in its order."""
    found = inventory(TEXT)

    assert [host.name for host in found.select("all")] == ["lab1", "lab2", "lab3"]
    assert [host.name for host in found.select("west")] == ["lab2", "lab3"]
    assert [host.name for host in found.select("lab3,lab1")] == ["lab3", "lab1"]
    assert [host.name for host in found.select("lab*:!west[0]")] == ["lab1", "lab3"]
    assert found.select("localhost") == (IMPLICIT,)


@pytest.mark.parametrize(
    ("pattern", "summary", "hint"),
    [
        ("lab9", 'no host and no group is "lab9"', 'use "lab3"'),
        ("wets", 'no host and no group is "wets"', 'use "west"'),
        ("lab1:!wets", 'no host and no group is "wets"', 'use "west"'),
        ("all:&wets", 'no host and no group is "wets"', 'use "west"'),
        (
            "lab[12]",
            'no host and no group is "lab[12]"',
            'use "~lab[12]": at the end of a name, brackets count the hosts of a group',
        ),
        ("127.0.0.1", 'no host and no group is "127.0.0.1"', 'use "localhost"'),
        ("x*", 'no host matches "x*"', "list what there is with `nsprov inventory --graph`"),
        ("lab1:!lab*", 'no host matches "lab1:!lab*"', "list what there is with `nsprov inventory --graph`"),
        ("west[5]", '"west" has no host [5]', "count from 0 to 1"),
    ],
)
def test_nothing_matched(inventory, pattern, summary, hint):
    """What matches nothing is said so; a plain name of nothing is an error in any place, with the nearest name."""
    with pytest.raises(NothingMatched) as caught:
        inventory(TEXT).select(pattern)

    assert (summary, hint) == (caught.value.diagnostics[0].summary, caught.value.diagnostics[0].hint)


def test_a_pattern_that_is_none(inventory):
    """A regular expression that is none is said so."""
    with pytest.raises(InputError, match="is not a pattern"):
        inventory(TEXT).select("~(")


def test_limits(inventory, tmp_path):
    """A limit leaves some of the hosts that are meant anyway: by pattern, by a file of them, or those that failed."""
    found = inventory(TEXT)
    names = found.names("all")
    (tmp_path / "some").write_text("lab3\n\nlab1\n")

    assert found.limited(names, "lab3:lab1") == ("lab1", "lab3")
    assert found.limited(["lab3", "lab2"], "@some") == ("lab3",)
    assert found.limited(names, "@failed", lambda: ("lab2", "gone")) == ("lab2",)
    assert found.limited(names, "@failed:lab1", lambda: ("lab2",)) == ("lab1", "lab2")
    assert found.limited(["localhost", "lab1"], "localhost") == ("localhost",)
    for limit, given in (("lab1", ["lab2"]), ("@failed", names), ("lab7", names)):
        with pytest.raises(NothingMatched):
            found.limited(given, limit, tuple)
    with pytest.raises(InputError, match="the limit's file cannot be read: no such file or directory"):
        found.limited(names, "@nowhere")


def test_secrets(inventory):
    """A password is shown nowhere, and is not among the variables."""
    host = inventory(TEXT).host("lab1")

    assert "hunter2" not in f"{host!r}{host}{host.become_password}"
    assert host.become_password.reveal() == "hunter2"
    assert Secret("hunter2") == host.become_password
    assert "hunter2" not in str(host.variables)


def test_no_secret_is_printed(inventory, capsys):
    """`nsprov inventory` writes stars for what is secret by its name or encrypted, in every form."""
    inventory("all: {hosts: {a: {ansible_ssh_pass: s1, db: {api_token: s2}, my_secret: s3, v: [!vault s4], plain: p}}}")
    for options in ({"everything": True}, {"host": "a"}, {"variables": True}, {"everything": True, "output": Output.JSONL}):
        command.show(sources=["hosts.yml"], **options)
        said = capsys.readouterr().out

        assert not {"s1", "s2", "s3", "s4"} & set(said.replace('"', " ").split())
        assert said.count("***") == 4
        assert "plain" in said


def test_graph_of_a_pattern(inventory, capsys):
    """`--graph` draws the tree of a group, or all groups with the hosts of a pattern or a limit; as JSON, too."""
    inventory(TEXT)
    command.show("west", sources=["hosts.yml"])

    assert capsys.readouterr().out == "@west:\n  |--lab2\n  |--lab3\n"
    command.show("lab3", sources=["hosts.yml"])

    assert capsys.readouterr().out == "@all:\n  |--@west:\n  |  |--lab3\n"
    command.show(sources=["hosts.yml"], limit="lab1", output=Output.JSONL)

    assert capsys.readouterr().out == (
        '{"group": "all", "children": [{"group": "ungrouped", "children": [], "hosts": [{"host": "lab1"}]}], "hosts": []}\n'
    )
    with pytest.raises(InputError, match="--list and --host"):
        command.show(sources=["hosts.yml"], host="lab1", everything=True)
    with pytest.raises(InputError, match='"all" is 3 hosts'):
        command.show(sources=["hosts.yml"], host="all")


def test_a_script_that_takes_too_long(tmp_path):
    """A script is ended with all that it has started when its time is up."""
    path = tmp_path / "slow"
    path.write_text(f"#!/bin/sh\nsleep 97 & echo $! > {tmp_path}/pid\n")
    path.chmod(0o755)
    with pytest.raises(InputError, match="the inventory script took more than"):
        read_script(str(path), Tree(Complaints()), patience=3.0)
    child = Path("/proc", (tmp_path / "pid").read_text().strip())

    deadline = time.monotonic() + 30
    with suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        while (child / "stat").read_text().split()[2] != "Z":
            assert time.monotonic() < deadline


def test_a_script_is_not_given_to_a_shell(inventory, tmp_path):
    """Neither a script's name nor a host's is read by a shell."""
    found = inventory(
        """#!/bin/sh
[ "$1" = --list ] && echo '{"g": ["$(touch pwned)"]}' || echo "{\\"got\\": \\"$2\\"}"
""",
        "$(touch pwned) inv",
    )

    assert found.variables["$(touch pwned)"]["got"] == "$(touch pwned)"
    assert not (tmp_path / "pwned").exists()


def test_what_is_executable_and_no_program_is_read(inventory, tmp_path):
    """On file systems where everything is executable, an inventory is still one."""
    inventory("a\n", "hosts")
    (tmp_path / "hosts").chmod(0o755)

    assert load_inventory(["hosts"]).names("all") == ("a",)


def test_no_such_inventory(tmp_path, monkeypatch):
    """A name without a comma is a file; what is wrong with one source hides nothing of the others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yml").write_text("- 1")
    with pytest.raises(InputError) as caught:
        load_inventory(["lab1", "bad.yml", "x[1],y"])

    assert [one.summary for one in caught.value.diagnostics] == [
        "there is no such inventory",
        "an inventory must be a mapping",
        '"[1]" in "x[1]" is not a range',
    ]
    assert 'write "lab1,"' in caught.value.diagnostics[0].hint


def test_a_thousand_hosts_cost_what_is_used(inventory):
    """Hosts are made when they are asked for, whatever their number."""
    found = inventory("[g]\nh[0001:1000] ansible_host='{{ inventory_hostname }}.x'\n", "hosts")

    assert len(found.hosts) == 1000
    assert found.host("h0500").address == "h0500.x"


LAB = Topology(
    name="l",
    prefix="l",
    path="l.yml",
    nodes={
        "a": Node(name="a", host="h1", interfaces={"e1": Interface(name="e1", bridge="lan")}),
        "b": Node(name="b", host="h2"),
        "c": Node(name="c", host="h3", interfaces={"e1": Interface(name="e1", bridge="lan")}),
        "d": Node(name="d", host="h4"),
    },
    bridges={"lan": Bridge(name="lan", host="h1")},
    links=(Link(endpoints=(Endpoint(node="a", interface="e0"), Endpoint(node="b", interface="e0"))),),
)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({"h1"}, ["the limit would cut the link a:e0 -- b:e0", 'the limit would cut the bridge "lan"']),
        ({"h1", "h2"}, ['the limit would cut the bridge "lan"']),
        ({"h1", "h2", "h3"}, []),
        ({"h4"}, []),
    ],
)
def test_a_limit_that_cuts_a_lab(inside, expected):
    """A link or a bridge with one foot inside a limit and one outside would be left in half; what is apart is not."""
    assert expected == [one.summary for one in limits.cut(LAB, inside)]


def test_the_limit_of_a_command(inventory):
    """`-l` picks hosts before any is made: one that cannot be reached can be left out."""
    found = inventory("a\nb ansible_connection=docker\n", "hosts")

    assert [host.name for host in limits.chosen(Given(limit="!b"), found)] == ["a"]
    with pytest.raises(InputError):
        limits.chosen(Given(), found)


def test_without_an_inventory_only_the_model_is_loaded():
    """Start-up time: no YAML, no Jinja and no reader is imported for a lab of this host."""
    script = (
        "import sys; from nsprov.inventory import load_inventory; load_inventory().select('localhost'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert {name for name in loaded if name.startswith("nsprov.")} == {
        "nsprov.errors",
        "nsprov.inventory",
        "nsprov.inventory.model",
        "nsprov.texts",
    }
    assert not {"yaml", "jinja2", "subprocess"} & loaded


def test_host_defaults():
    """A host needs a name and an address."""
    assert Host(name="a", address="a").weight == 1
