"""Containers have no rights and cannot write, and a second `up` changes nothing."""

import re

import pytest

from tests.containers.compose_project import JOBS, ComposeProject
from tests.containers.engine import docker

pytestmark = pytest.mark.timeout(3600)  # the first test builds and starts everything


def test_second_up_changes_no_container(project: ComposeProject) -> None:
    before = {name: project.state(name) for name in project.services()}
    project.up()
    for name, state in before.items():
        now = project.state(name)
        assert (now.id, now.started_at, now.status) == (state.id, state.started_at, "healthy"), name
    assert {name: project.state(name).exit_code for name in JOBS} == dict.fromkeys(JOBS, 0)


def test_processes_have_no_rights(project: ComposeProject) -> None:
    for name in project.services():
        status = dict(
            re.findall(r"^(\w+):\s*(.*)$", project.execute(name, "cat", "/proc/1/status"), re.MULTILINE)
        )
        assert "0" not in status["Uid"].split() + status["Gid"].split(), name
        sets = {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")}
        assert sets == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0), name
        assert status["NoNewPrivs"] == "1", name


def test_not_even_root_can_write_to_a_root_file_system(project: ComposeProject) -> None:
    for name in project.services():
        writing = ["sh", "-c", "echo written > /written 2>&1; echo $?; cat /written"]
        output = docker(
            "exec", "--user=0:0", project.container(name), "sh", "-c", f"({writing[-1]}) 2>&1 || true"
        )
        assert "Read-only file system" in output, name
        assert "\nwritten" not in output, name


def test_containers_reach_nothing_outside_of_the_project(project: ComposeProject) -> None:
    """Only the balancer has a network with a route out. It publishes the only port."""
    routes = {name: project.execute(name, "cat", "/proc/net/route") for name in project.services()}
    outside = {name for name, table in routes.items() if re.search(r"^\w+\t00000000\t", table, re.MULTILINE)}
    assert outside == {"balancer"}
