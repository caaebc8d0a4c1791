"""Tasks on a Dask scheduler and workers in processes of their own, which are killed."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace

import pytest
from works import Cluster, Copy, CopyWithNotes, make_tasks

from harmnmf import HarmnmfError
from harmnmf.batch.cluster import run_cluster

pytest.importorskip("distributed")


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as cluster:
        yield cluster


def run(cluster, tasks, **options):
    return run_cluster(Copy(), tasks, lambda task, seconds: None, cluster.address, **options)


@pytest.mark.slow
@pytest.mark.parametrize("send", [False, True])
def test_results_are_those_of_one_process(tmp_path, cluster, send):
    cluster.add_worker()
    tasks = make_tasks(tmp_path, "good", "refuse", "fault", "warn", "full", "good", "missing")
    tasks[6].source.unlink()
    reported = {}
    run_all = run_cluster(Copy(), tasks, reported.__setitem__, cluster.address, send=send)
    outcomes = dict(run_all)
    assert set(outcomes) == set(reported) == set(tasks)
    for i in (0, 3, 5):
        assert outcomes[tasks[i]].error is None
        assert tasks[i].outputs[0].read_bytes() == tasks[i].source.read_bytes()
        assert outcomes[tasks[i]].sha256
        assert reported[tasks[i]] == 2.0
    # Messages name the caller's files, not those of the worker.
    assert outcomes[tasks[1]].error == f"{tasks[1].source}: is bad"
    assert outcomes[tasks[2]].error.startswith(f"{tasks[2].source}: KeyError")
    assert outcomes[tasks[3]].warnings == (f"{tasks[3].source}: is doubtful",)
    assert outcomes[tasks[4]].error == f"{tasks[4].source}: No space left on device"
    assert outcomes[tasks[6]].error == f"{tasks[6].source}: No such file or directory"


@pytest.mark.slow
@pytest.mark.parametrize("send", [False, True])
def test_folders_and_companions(tmp_path, cluster, send):
    cluster.add_worker()
    tasks = []
    for task in make_tasks(tmp_path, "good", "warn", "good"):
        notes = task.source.with_suffix(".mid")
        notes.write_text("C4")
        folder = task.outputs[0].with_suffix("")
        tasks.append(replace(task, outputs=(folder,), companions=(notes,)))
    tasks[2].companions[0].unlink()
    outcomes = dict(
        run_cluster(CopyWithNotes(), tasks, lambda *_: None, cluster.address, send=send)
    )
    for task in tasks[:2]:
        assert outcomes[task].error is None
        copied = {path.name: path.read_text() for path in task.outputs[0].iterdir()}
        originals = (task.source, *task.companions)
        assert copied == {path.name: path.read_text() for path in originals}
    assert outcomes[tasks[1]].warnings == (f"{tasks[1].outputs[0]}: like {tasks[1].companions[0]}",)
    assert "No such file" in outcomes[tasks[2]].error
    assert not tasks[2].outputs[0].exists()


@pytest.mark.slow
def test_a_lost_worker_loses_nothing(tmp_path, cluster):
    workers = [cluster.add_worker() for _ in range(2)]
    tasks = make_tasks(tmp_path, *["slow"] * 8)
    outcomes = run(cluster, tasks)
    done = [next(outcomes)]
    workers[0].send_signal(signal.SIGKILL)
    cluster.add_worker()
    done += outcomes
    assert sorted(task.source for task, _ in done) == sorted(task.source for task in tasks)
    assert [outcome.error for _, outcome in done] == [None] * 8
    assert all(task.outputs[0].read_bytes() == task.source.read_bytes() for task in tasks)


@pytest.mark.slow
def test_a_task_that_kills_every_worker_fails(tmp_path, cluster):
    tasks = make_tasks(tmp_path, "die", "once")
    outcomes = run(cluster, tasks)
    for _ in range(6):
        cluster.add_worker()
    errors = {task.source.name: outcome.error for task, outcome in outcomes}
    assert "given up after it was lost with" in errors["0.txt"]
    assert errors["1.txt"] is None


@pytest.mark.slow
def test_a_lost_scheduler_ends_the_run(tmp_path, cluster):
    cluster.add_worker()
    outcomes = run(cluster, make_tasks(tmp_path, *["slow"] * 4))
    next(outcomes)
    cluster.scheduler.kill()
    with pytest.raises(HarmnmfError, match="lost the scheduler; run the same command again"):
        list(outcomes)


@pytest.mark.slow
def test_harmnmf_must_be_installed(tmp_path):
    with Cluster(tmp_path, installed=False) as cluster:
        cluster.add_worker()
        with pytest.raises(HarmnmfError, match=r"not installed on .*the scheduler; install it"):
            list(run(cluster, make_tasks(tmp_path, "good")))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://"])
def test_no_scheduler(address):
    with pytest.raises(HarmnmfError, match="no Dask scheduler answers"):
        list(run_cluster(Copy(), [], lambda task, seconds: None, address, timeout=0.5))


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(HarmnmfError, match=r"pip install 'harmnmf\[cluster\]'"):
        list(run_cluster(Copy(), [], lambda task, seconds: None, "tcp://127.0.0.1:9"))
