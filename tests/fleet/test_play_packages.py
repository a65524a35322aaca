"""`package:` through a real apt-get, with packages and an archive of our own on one of the lab hosts."""

from __future__ import annotations

import shutil

import pytest
from controlled import Fleet

ADD = r"""#!/bin/sh
set -e
mkdir -p /tmp/repo && cd /tmp/repo
for name in "$@"; do
  mkdir -p build/DEBIAN
  printf 'Package: nsprov-%s\nVersion: %s\nArchitecture: all\n' ${name%:*} ${name#*:} >build/DEBIAN/control
  printf 'Maintainer: a <a@b>\nDescription: x\n' >>build/DEBIAN/control
  dpkg-deb -b build nsprov-${name%:*}_${name#*:}_all.deb >/dev/null
  rm -r build
done
for file in *.deb; do
  dpkg-deb -f $file
  echo "Filename: ./$file"; echo "Size: $(stat -c %s $file)"; echo "SHA256: $(sha256sum <$file | cut -d' ' -f1)"; echo
done >Packages
echo 'deb [trusted=yes] file:/tmp/repo ./' >sources.list
echo 'Dir::Etc::sourcelist "/tmp/repo/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "root";' >apt.conf
"""
PLAY = """\
- hosts: lab1
  environment: {APT_CONFIG: /tmp/repo/apt.conf}
  tasks:
    - {name: archive, script: "add.sh thing:1.0 other:1.0"}
    - {name: would, package: {name: nsprov-thing}, check_mode: true}
    - {name: first, package: {name: nsprov-thing, update_cache: true}}
    - {name: again, package: {name: nsprov-thing}}
    - {name: archive, script: "add.sh thing:1.1"}
    - {name: stays, package: {name: "nsprov-thing,nsprov-other", update_cache: true}}
    - {name: stale, package: {name: nsprov-thing, state: latest}, check_mode: true}
    - {name: newer, package: {name: nsprov-thing, state: latest}}
    - {name: newest, package: {name: nsprov-thing, state: latest}}
    - {name: named, package: {name: nsprov-thing=1.1}}
    - {name: have, command: "dpkg-query -W -f '${Package}=${Version} ' nsprov-*"}
    - {name: wrong, package: {name: no-such-package}, ignore_errors: true}
    - {name: gone, package: {name: [nsprov-thing, nsprov-other], state: absent}}
    - {name: absent, package: {name: nsprov-thing, state: absent}}
"""
NEWS = {
    **dict.fromkeys(("would", "first", "stays", "stale", "newer", "gone"), True),
    **dict.fromkeys(("again", "newest", "named", "wrong", "absent"), False),
}


def test_packages(lab, tmp_path):
    """There or not, in a version, up to date: what a check says is what is done, and again nothing is news."""
    if not shutil.which("apt-get"):
        pytest.skip("this machine has no apt-get")
    fleet = Fleet(lab, tmp_path)
    fleet.nsprov.write("add.sh", ADD)
    fleet.nsprov.write("site.yml", PLAY)
    said = fleet.nsprov("play", "site.yml", "-o", "json").json
    lab[0].run("rm -rf /tmp/repo")
    fleet.check()
    results = {task["task"]: task["hosts"]["lab1"] for task in said["plays"][0]["tasks"]}

    assert {name: results[name]["changed"] for name in NEWS} == NEWS
    assert results["stays"]["packages"] == ["nsprov-other"]
    assert results["have"]["stdout"] == "nsprov-other=1.0 nsprov-thing=1.1 "
    assert "Unable to locate package no-such-package" in results["wrong"]["msg"]
