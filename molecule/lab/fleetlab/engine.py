"""The Docker engine and the few programs the lab needs: found, or installed and started where we may."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .shell import LabError, docker, locked, run, step, wait_for

# What must be there → the Debian package that brings it.
LOGIN = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
BUILD = {"mmdebstrap": "mmdebstrap"}
# A browser for the tests of the web page, by the names that it has; with a font, for it brings none.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_PACKAGES = ["chromium", "fonts-dejavu-core"]
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DOCKERD_LOG = Path("/var/log/dockerd-lab.log")
_SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])


def is_root() -> bool:
    """Whether this process may install packages and start daemons."""
    return os.geteuid() == 0


def found(program: str) -> bool:
    """Whether a program is there; /sbin counts too, as a user's PATH often lacks it."""
    return shutil.which(program, path=_SBIN) is not None


def missing_packages(*, building: bool) -> list[str]:
    """Debian packages that are needed here and not found: to reach nodes and, when building, to make their roots."""
    programs = {**LOGIN, **BUILD} if building else LOGIN
    wanted = {package for program, package in programs.items() if not found(program)}
    if building and not KEYRING.exists():
        wanted.add("debian-archive-keyring")
    if building and not is_root() and not found("newuidmap"):
        wanted.add("uidmap")  # mmdebstrap makes a user namespace when it is not run by root
    return sorted(wanted)


def install(packages: list[str]) -> None:
    """Install packages with apt-get, or say exactly what an administrator must do."""
    names = " ".join(packages)
    if not is_root():
        raise LabError(f"missing here: {names}. Ask an administrator to run: apt-get install {names}")
    if not found("apt-get"):
        raise LabError(f"missing here: {names}, and this machine has no apt-get. Install them, then run this again")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    # Another program of the machine may be installing just now.
    command = ["apt-get", "install", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *packages]
    with step(f"install {names}"):
        if run(command, env=quiet, check=False).returncode != 0:  # package lists may be old or absent
            run(["apt-get", "update", "-qq"], env=quiet)
            run(command, env=quiet)


def ensure_tools(*, building: bool) -> None:
    """Have the programs that reach nodes and, when building, those that make their roots."""
    with locked("packages"):  # images are built side by side, and the second finds what the first has installed
        packages = missing_packages(building=building)
        if packages:
            install(packages)


def ensure_browser() -> Path:
    """A Chromium; where it is."""
    with locked("packages"):
        if not any(found(name) for name in BROWSERS):
            install(BROWSER_PACKAGES)
    for name in BROWSERS:
        if path := shutil.which(name, path=_SBIN):
            return Path(path)
    raise LabError(f"{' '.join(BROWSER_PACKAGES)} brought none of the programs {', '.join(BROWSERS)}")


def engine_problem() -> str:
    """Why `docker info` does not work, or an empty string when it does."""
    if not found("docker"):
        return "missing"
    answer = docker("info", "--format", "{{.ServerVersion}}", check=False)
    if answer.returncode == 0 and answer.stdout.strip():
        return ""
    return "denied" if "permission denied" in docker("version", check=False).stderr.lower() else "stopped"


def ensure_engine() -> str:
    """A Docker engine that answers; its version."""
    problem = engine_problem()
    if problem == "denied":
        raise LabError(
            "a Docker engine runs here, but this user may not use it. "
            "Join the docker group (usermod -aG docker USER, then log in again) or run this as root"
        )
    if problem and not is_root():
        what = "is not installed" if problem == "missing" else "is installed but does not run"
        raise LabError(f"Docker {what}. Ask an administrator to install docker.io and start it, or run this as root")
    if problem:
        if not found("dockerd") or problem == "missing":
            install(["docker.io", "iptables"] + (["docker-cli"] if _has_package("docker-cli") else []))
        if not found("iptables"):
            install(["iptables"])
        if engine_problem():
            _start()
    return docker("version", "--format", "{{.Server.Version}}").stdout.strip()


def _has_package(name: str) -> bool:
    """Whether apt knows a package: Debian 13 splits the docker command off docker.io."""
    return run(["apt-cache", "show", name], check=False).returncode == 0


def _start() -> None:
    with step("start the Docker engine"):
        if Path("/run/systemd/system").is_dir():
            run(["systemctl", "start", "docker"])
        else:
            with DOCKERD_LOG.open("ab") as log:
                subprocess.Popen(
                    ["dockerd"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PATH": _SBIN},
                    start_new_session=True,
                )
        remedy = f"see {DOCKERD_LOG}, or journalctl -u docker where systemd runs"
        wait_for("the Docker engine", lambda: not engine_problem(), seconds=60, remedy=remedy)
