"""quell.ThreadPoolExecutor in the hands of those who take a ThreadPoolExecutor of the standard library.

A package is tested with where it is installed. Those that are small are among the requirements of the tests; `pip install grpcio
distributed` adds the others.
"""

import asyncio

import pytest
import quell
from conftest import PATIENCE
from tasks import Begun, block


def test_asgiref():
    """Django's own bridge: a view that hangs is ended by the executor's limit, or with the request that waits for it."""
    sync = pytest.importorskip("asgiref.sync")

    async def main():
        with quell.ThreadPoolExecutor(1, timeout=0.05) as executor:
            hangs = sync.sync_to_async(block, thread_sensitive=False, executor=executor)
            with pytest.raises(quell.Timeout):
                await hangs()
            works = sync.sync_to_async(int, thread_sensitive=False, executor=executor)
            assert await works("5") == 5
        with quell.ThreadPoolExecutor(1) as executor:
            task = Begun()
            view = sync.sync_to_async(task, thread_sensitive=False, executor=executor)
            request = asyncio.ensure_future(view())
            while not task.begun.is_set():
                await asyncio.sleep(0)
            executor.shutdown(wait=False, interrupt=True)
            with pytest.raises(asyncio.CancelledError):
                await request
            assert task.ended is quell.TaskCancelled

    asyncio.run(main())


def test_apscheduler():
    """A job that hangs ends at the limit, and the next one runs."""
    schedulers = pytest.importorskip("apscheduler.schedulers.background")
    from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
    from apscheduler.executors.pool import BasePoolExecutor

    class Executor(BasePoolExecutor):
        def __init__(self):
            super().__init__(quell.ThreadPoolExecutor(1, timeout=0.05))

    scheduler = schedulers.BackgroundScheduler(executors={"default": Executor()})
    ended = quell.Queue()
    scheduler.add_listener(ended.put, EVENT_JOB_ERROR | EVENT_JOB_EXECUTED)
    scheduler.start()
    try:
        scheduler.add_job(block)
        # Caught inside of the task by the scheduler, which catches everything.
        assert str(ended.get(timeout=PATIENCE).exception) == "timed out after 0.05 s"
        scheduler.add_job(lambda: 5)
        assert ended.get(timeout=PATIENCE).retval == 5
    finally:
        scheduler.shutdown()


def test_grpc():
    """A handler that hangs is ended: by a limit of its own, of which its caller is told; or by that of the executor, of which the
    server knows nothing, and its caller's deadline passes. In both cases the one worker serves the next call."""
    grpc = pytest.importorskip("grpc")

    def serve(request, _context):
        if request == b"limited":
            with quell.timeout(0.05):
                block()
        return block() if request == b"hang" else request

    class Service(grpc.GenericRpcHandler):
        def service(self, _details):
            return grpc.unary_unary_rpc_method_handler(serve)

    server = grpc.server(quell.ThreadPoolExecutor(1, timeout=0.2))
    server.add_generic_rpc_handlers([Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/quell/call")
            for request, patience, code in (
                (b"limited", PATIENCE, grpc.StatusCode.UNKNOWN),
                (b"hang", 0.3, grpc.StatusCode.DEADLINE_EXCEEDED),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    call(request, timeout=patience)
                assert caught.value.code() is code
                assert call(b"echo", timeout=PATIENCE) == b"echo"
    finally:
        server.stop(None).wait(PATIENCE)


# Dask sends functions by name.
BEGUN, ENDED = quell.Event(), quell.Event()


def hang():
    BEGUN.set()
    try:
        block()
    finally:
        ENDED.set()


def test_dask():
    """A task that is cancelled while it runs is interrupted by a plugin, which asks Dask for the thread that runs it."""
    distributed = pytest.importorskip("distributed")

    class Interrupts(distributed.WorkerPlugin):
        def setup(self, worker):
            self.worker = worker

        def transition(self, key, start, finish, **_):
            if start == "executing" and finish in ("cancelled", "released"):
                for thread, running in list(self.worker.active_threads.items()):
                    if running == key:
                        quell.interrupt(thread)

    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            executor=quell.ThreadPoolExecutor(1),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert client.submit(int, "5").result(PATIENCE) == 5
        (worker,) = cluster.workers.values()
        asyncio.run_coroutine_threadsafe(
            worker.plugin_add(plugin=Interrupts(), name="interrupts"), worker.loop.asyncio_loop
        ).result(PATIENCE)
        future = client.submit(hang, pure=False)
        assert BEGUN.wait(PATIENCE)
        future.cancel()
        assert ENDED.wait(PATIENCE)
        assert client.submit(int, "6").result(PATIENCE) == 6
