"""Clusters of every kind, on engines as real as this machine has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, UsageError
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster import connect
from emres.run.cluster_check import check_cluster
from emres.run.cluster_gpu import listed_devices, visible_devices

LISTED = """GPU 0: NVIDIA A100 (UUID: GPU-5c89)
  MIG 3g.20gb     Device  0: (UUID: MIG-aa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bb)
GPU 1: NVIDIA A100 (UUID: GPU-77ab)
"""


def seen() -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


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


def test_each_worker_keeps_its_own_gpu_over_a_kill_and_ends_with_the_client() -> None:
    links: list[str] = []
    with connect("gpu:6,7", told=links.append) as client:
        assert links
        assert links[0].startswith("http://127.0.0.1:")
        before = client.run(seen)
        assert sorted(device for device, _ in before.values()) == ["6", "7"]
        killed = next(pid for device, pid in before.values() if device == "7")
        os.kill(killed, signal.SIGKILL)

        def back() -> bool:
            now = dict(client.run(seen, on_error="ignore").values())
            return set(now) == {"6", "7"} and now["7"] != killed

        assert until(back)
        pids = [pid for _, pid in client.run(seen).values()]
    assert until(lambda: all(map(gone, pids)), 20)


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
        f"UsePAM no\nSetEnv PYTHONPATH={Path(__file__).parents[2]}\n"
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
def test_ssh_workers_talk_by_tls_show_no_key_do_a_batch_and_end_with_the_client(
    ssh_file: Path, entry: EntryGroup, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(entry.path.parents[1])
    with connect(str(ssh_file)) as client:
        facts = check_cluster(client)
        assert facts.encrypted
        assert facts.fit
        assert [worker.visible for worker in facts.workers] == ["0", "1"]
        assert set(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == {str(2**26)}
        pids = list(client.run(os.getpid).values())
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
        assert any(b"emres.run.cluster_remote" in line for line in lines)
        assert not any(b"BEGIN" in line and b"PRIVATE KEY" in line for line in lines)
        [outcome] = run_batch(["toy"], BatchPlan(Store(Path("store")), str(toy_model)), client)
        assert outcome.status == "done", outcome.reason
    assert until(lambda: all(map(gone, pids)), 20)


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
