"""An exception that is sent more than once never becomes its own context, however it meets itself."""

import threading

import quell
from conftest import spin_until


class Stop(BaseException):
    pass


def chain(error):
    """The exception and its contexts; fails if one comes twice."""
    links = []
    while error is not None:
        assert all(link is not error for link in links), "a cycle"
        links.append(error)
        error = error.__context__
    return links


def test_one_instance_again_and_again_into_its_own_handlers(start):
    stop, entered, caught, seen = Stop(), [], [], []

    def wait(rounds):
        """Is caught `rounds` times, each time while the earlier ones are being handled."""
        try:
            entered.append(rounds)
            spin_until(lambda: False)
        except Stop as error:
            seen.append(chain(error))
            caught.append(error)
            try:
                {}["another"]
            except KeyError as other:
                chain(other)
                if rounds > 1:
                    wait(rounds - 1)

    def work():
        for _ in range(20):
            wait(5)

    worker = start(work)
    for n in range(100):
        spin_until(lambda n=n: len(entered) > n or not worker.is_alive())
        delivery = quell.interrupt(worker, stop)
        assert delivery.wait(30)
    assert worker.done().error is None
    assert len(caught) == 100 and all(error is stop for error in caught)
    assert max(map(len, seen)) > 1


def test_one_instance_for_a_timeout_and_an_interrupt(start):
    stop, links = Stop(), []

    def work():
        for _ in range(20):
            try:
                try:
                    with quell.timeout(0.005):
                        spin_until(lambda: False)
                except quell.Timeout as error:
                    chain(error)
                    quell.interrupt(threading.current_thread(), stop)
                    spin_until(lambda: False)
            except Stop as error:
                links.append(chain(error))

    worker = start(work)
    assert worker.done().error is None
    assert len(links) == 20 and all(len(link) > 1 for link in links)
