"""Clusters of every kind, on engines as real as this machine has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emres.errors import EmresError, UsageError
from emres.run.cluster import connect
from emres.run.cluster_check import check_cluster, worker_facts
from emres.run.cluster_crew import crew_of
from emres.run.cluster_gpu import listed_devices, visible_devices

LISTED = """GPU 0: NVIDIA A100 (UUID: GPU-5c89)
  MIG 3g.20gb     Device  0: (UUID: MIG-aa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bb)
GPU 1: NVIDIA A100 (UUID: GPU-77ab)
"""


def seen() -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def seen_by_task(number: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def until(happens: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.2)
    return happens()


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_driver_s_list_gives_whole_gpus_and_slices() -> None:
    assert listed_devices(LISTED) == ("MIG-aa", "MIG-bb", "1")
    assert listed_devices("No devices found.") == ()


@pytest.mark.parametrize(("told", "devices"), [("", ()), ("-1", ()), ("2,0", ("2", "0")), ("1,-1,2", ("1",))])
def test_the_environment_says_which_gpus_are_visible(told: str, devices: tuple[str, ...], monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert visible_devices() == devices


def test_without_a_gpu_it_is_told(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EmresError, match="no GPU is visible here"):
        connect("gpu")
    with pytest.raises(UsageError, match="a GPU is named twice"):
        connect("gpu:0,0")


def test_each_worker_keeps_its_own_gpu_over_a_kill_and_gpu_tasks_run_nowhere_else() -> None:
    from distributed import Nanny

    links: list[str] = []
    with connect("gpu:6,7", told=links.append) as client:
        assert links
        assert links[0].startswith("http://127.0.0.1:")
        before = client.run(seen)
        assert sorted(device for device, _ in before.values()) == ["6", "7"]
        plain = client.cluster.sync(_added, client.cluster.scheduler.address, Nanny)
        try:
            tasks = client.map(seen_by_task, range(200), resources=crew_of(client).resources("auto"), pure=False)
            assert set(client.gather(tasks)) == {"6", "7"}
        finally:
            client.cluster.sync(plain.close)
        killed = next(pid for device, pid in before.values() if device == "7")
        os.kill(killed, signal.SIGKILL)

        def back() -> bool:
            now = dict(client.run(seen, on_error="ignore").values())
            return set(now) == {"6", "7"} and now["7"] != killed

        assert until(back)
        resources = [each["resources"] for each in client.scheduler_info(n_workers=-1)["workers"].values()]
        assert resources == [{"GPU": 1}] * 2
        pids = [pid for _, pid in client.run(seen).values()]
    assert until(lambda: all(map(gone, pids)), 20)


async def _added(address: str, nanny: Callable) -> object:
    """Add a worker without a GPU."""
    return await nanny(address, nthreads=2, host="127.0.0.1", env={"CUDA_VISIBLE_DEVICES": "none"}, silence_logs=50)


def test_no_worker_in_time_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('cluster = "ssh"\nhosts = ["127.0.0.1"]\nssh_options = ["-p", "1"]\n')
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh on this machine")
    with pytest.raises(EmresError, match=r"the cluster does not start: got 127\.0\.0\.1: .*[Cc]onnection refused"):
        connect(str(tmp_path / "c.toml"))


# --- ssh: an sshd of our own, with a key that is thrown away ---------------------------------------------------------


@pytest.fixture
def ssh_file(tmp_path: Path) -> Iterator[Path]:
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if sshd is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd on this machine")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/key.pub\n"
        f"PidFile {tmp_path}/pid\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "UsePAM no\n"
    )
    host_key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    options = ["-p", str(port), "-i", f"{tmp_path}/key", "-o", f"UserKnownHostsFile={tmp_path}/known"]
    file = tmp_path / "cluster.toml"
    file.write_text(
        'cluster = "ssh"\nhosts = ["127.0.0.1"]\nhost = "127.0.0.1"\ngpus = 2\nthreads = 1\nmemory = "2GB"\n'
        f"ssh_options = {options!r}\n"
    )
    with subprocess.Popen([sshd, "-D", "-f", config], stderr=subprocess.DEVNULL) as daemon:
        if not until(lambda: (tmp_path / "pid").exists(), 10):
            daemon.kill()
            pytest.skip("sshd does not start on this machine")
        yield file
        daemon.terminate()


@pytest.mark.peer
@pytest.mark.long
def test_ssh_workers_talk_by_tls_show_no_key_and_end_with_the_client(ssh_file: Path) -> None:
    with connect(str(ssh_file)) as client:
        facts = check_cluster(client)
        assert facts.encrypted
        assert facts.fit
        assert [worker.visible for worker in facts.workers] == ["0", "1"]
        # These workers cannot import the tests.
        pids = list(client.run(os.getpid).values())
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
        assert any(b"emres.run.cluster_remote" in line for line in lines)
        assert not any(b"BEGIN" in line and b"PRIVATE KEY" in line for line in lines)
    assert until(lambda: all(map(gone, pids)), 20)


# --- SLURM: one that runs here (SLURM_CONF) --------------------------------------------------------------------------


def queue() -> list[str]:
    asked = subprocess.run(["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True)
    return asked.stdout.split("\n")[:-1]


@pytest.fixture
def slurm(tmp_path: Path) -> str:
    if shutil.which("sinfo") is None:
        pytest.skip("there is no SLURM on this machine")
    asked = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, check=False)
    if asked.returncode or not set(asked.stdout.split()) & {"idle", "mix"}:
        pytest.skip("no SLURM node is idle here")
    return f"slurm:threads=1,memory=2GB,walltime=00:10:00,shared_folder={tmp_path}"


@pytest.mark.peer
def test_a_partition_that_slurm_refuses_is_told_and_leaves_nothing(slurm: str, tmp_path: Path) -> None:
    with pytest.raises(EmresError, match="Invalid partition name"):
        connect(f"{slurm},partition=missing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.peer
@pytest.mark.long
def test_a_job_that_is_killed_is_submitted_again_and_none_is_left(slurm: str, tmp_path: Path) -> None:
    def pids() -> set[int]:
        return set(client.run(os.getpid, on_error="ignore").values())

    with connect(f"{slurm},jobs=2") as client:
        assert client.scheduler.address.startswith("tls://")
        assert until(lambda: len(pids()) == 2)
        [folder] = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        killed = queue()[0].split()[0]
        before = pids()
        subprocess.run(["scancel", killed], check=True)
        assert until(lambda: len(pids() - before) == 1 and len(pids()) == 2, 120)
        assert client.submit(worker_facts, pure=False).result()["threads"] == 1
    assert until(lambda: queue() == [], 30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.peer
@pytest.mark.long
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_stopped_leaves_no_job(slurm: str, by: int) -> None:
    script = (
        f"import time\nfrom emres import connect\nwith connect({slurm!r}):\n print('up', flush=True)\n time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert client.stdout.readline().strip() == b"up"
        client.send_signal(by)
    assert until(lambda: queue() == [], 60)


# --- a scheduler that runs -------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_tls_scheduler_that_runs_is_joined_and_left_running(tmp_path: Path) -> None:
    import dask
    from distributed import LocalCluster, Security

    pytest.importorskip("cryptography")
    security = Security.temporary()
    keys = {
        "distributed.comm.tls.ca-file": security.tls_ca_file,
        "distributed.comm.tls.client.cert": security.tls_client_cert,
        "distributed.comm.tls.client.key": security.tls_client_key,
    }
    options = {"protocol": "tls://", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, security=security, **options) as cluster:
        with dask.config.set(keys), connect(cluster.scheduler_address) as client:
            facts = check_cluster(client)
        assert facts.encrypted
        assert facts.fit
        assert cluster.status.name == "running"
        with pytest.raises(EmresError, match="no scheduler answers"):
            connect(cluster.scheduler_address, timeout=5)
