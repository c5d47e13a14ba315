"""What SIGTERM and SIGINT mean: the first drains, the second leaves at once."""

import asyncio
import os
import signal

from worker.log import get_logger

log = get_logger()


def drain_on_signals(leaving: asyncio.Event) -> None:
    """Set ``leaving`` at the first signal; at the second this process ends, and Claude Code with it."""

    def asked_to_leave() -> None:
        if leaving.is_set():
            log.warning("worker_leaves_at_once")
            os._exit(128 + signal.SIGTERM)
        log.info("worker_draining")
        leaving.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_leave)
