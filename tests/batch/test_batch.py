"""Tasks in this process and in others: a failure does not stop the rest."""

from __future__ import annotations

import multiprocessing
import time

import pytest
from works import Copy, make_tasks

from harmnmf.batch.processes import run_processes
from harmnmf.batch.task import run_serial

FAILURES = {
    "refuse": "is bad",
    "fault": "KeyError: 'no such thing' (a bug in harmnmf: please report it)",
    "memory": "not enough memory",
    "full": "No space left on device",
    "missing": "No such file or directory",
}
DEATHS = {
    "die": "the worker process was killed by SIGKILL, perhaps out of memory; try this file alone",
    "crash": "the worker process was killed by SIGSEGV; try this file alone",
    "exit": "the worker process ended with exit code 3",
}


def in_processes(n_jobs):
    return lambda work, tasks, report: run_processes(work, tasks, report, n_jobs)


@pytest.mark.parametrize("run", [run_serial, in_processes(1), in_processes(3)])
def test_every_task_runs_once(tmp_path, run):
    tasks = make_tasks(tmp_path, "good", *FAILURES, "warn", "good")
    missing = tasks[len(FAILURES)]
    missing.source.unlink()
    reported = []
    outcomes = dict(run(Copy(), tasks, lambda task, seconds: reported.append((task, seconds))))
    assert set(outcomes) == set(tasks)
    for task, (word, reason) in zip(tasks[1:], FAILURES.items(), strict=False):
        outcome = outcomes[task]
        assert outcome.error == f"{task.source}: {reason}"
        assert outcome.summary == ""
        assert not task.outputs[0].exists()
        assert (outcome.seconds, outcome.sha256 is None) == (
            (0, True) if task is missing else (1, False)
        )
        assert (outcome.trace is not None) == (word == "fault")
    for task in tasks[-2:] + tasks[:1]:
        assert outcomes[task].error is None
        assert task.outputs[0].read_bytes() == task.source.read_bytes()
        assert outcomes[task].seconds == 2
        assert outcomes[task].elapsed > 0
    assert outcomes[tasks[-2]].warnings == (f"{tasks[-2].source}: is doubtful",)
    assert outcomes[tasks[-1]].warnings == ()
    assert all(reported.count((task, 1.0)) == (task is not missing) for task in tasks)
    assert reported.count((tasks[0], 2.0)) == 1


def test_a_task_that_kills_its_process_is_named(tmp_path):
    tasks = make_tasks(tmp_path, "good", *DEATHS, "good", "good")
    outcomes = dict(run_processes(Copy(), tasks, lambda task, seconds: None, n_jobs=2))
    assert set(outcomes) == set(tasks)
    for task, reason in zip(tasks[1:], DEATHS.values(), strict=False):
        assert outcomes[task].error == f"{task.source}: {reason}"
    assert [outcomes[task].error for task in tasks[-2:] + tasks[:1]] == [None] * 3


def test_processes_have_one_thread_and_are_reused(tmp_path):
    tasks = make_tasks(tmp_path, *["slow"] * 6)
    outcomes = list(run_processes(Copy(), tasks, lambda task, seconds: None, n_jobs=2))
    workers = [outcome.summary.split() for _, outcome in outcomes]
    assert len({process for process, _ in workers}) == 2
    assert {n_threads for _, n_threads in workers} == {"1"}


def test_tasks_are_taken_one_by_one(tmp_path):
    taken = []

    def tasks():
        for task in make_tasks(tmp_path, *["good"] * 4):
            taken.append(task)
            yield task

    run = run_processes(Copy(), tasks(), lambda task, seconds: None, n_jobs=1)
    next(run)
    assert len(taken) <= 2
    assert len(list(run)) == 3
    assert multiprocessing.active_children() == []


def test_an_interrupted_run_is_cleaned_up(tmp_path):
    tasks = make_tasks(tmp_path, "hang", "good", "hang", "good")
    run = run_processes(Copy(), tasks, lambda task, seconds: None, n_jobs=2)
    task, _ = next(run)
    assert task == tasks[1]
    while not all((tmp_path / f"{i}.busy").exists() for i in (0, 2)):
        time.sleep(0.05)
    run.close()  # as an exception in the caller does
    assert multiprocessing.active_children() == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.copy"]
