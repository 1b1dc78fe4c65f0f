"""A lock that is tried with patience is still one."""

import threading
import time

from finesweep.system.locks import BackoffLock


def test_one_at_a_time_has_the_lock_and_each_gets_it(tmp_path):
    inside, most, had = 0, 0, []

    def work(number: int) -> None:
        nonlocal inside, most
        lock = BackoffLock(tmp_path / "lock")
        for _ in range(5):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1
            had.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert sorted(had) == sorted([*range(6)] * 5)
