"""Order under many threads, bounds, and ends from either side."""

import threading

import pytest

from client.ordering import Closed, InOrder, Turnstile


def test_what_was_put_comes_in_order_and_ends() -> None:
    queue: InOrder[int] = InOrder(3)

    def feed() -> None:
        for number in range(100):
            queue.put(number)
        queue.end()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert list(queue) == list(range(100))
    feeder.join(5)


def test_put_waits_for_room() -> None:
    queue: InOrder[int] = InOrder(2)
    third_put = threading.Event()

    def feed() -> None:
        for number in range(3):
            queue.put(number)
        third_put.set()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert not third_put.wait(0.1)
    assert next(iter(queue)) == 0
    assert third_put.wait(5)
    feeder.join(5)


def test_a_closed_queue_frees_the_one_that_waits() -> None:
    queue: InOrder[int] = InOrder(1)
    queue.put(0)
    raised = threading.Event()

    def put_more() -> None:
        with pytest.raises(Closed):
            queue.put(1)
        raised.set()

    feeder = threading.Thread(target=put_more)
    feeder.start()
    queue.close()
    assert raised.wait(5)
    assert list(queue) == []


def test_turns_come_in_order_whoever_asks_first() -> None:
    turnstile, passed = Turnstile(), []
    ready = threading.Barrier(20)

    def go(number: int) -> None:
        ready.wait(5)
        with turnstile.turn(number):
            passed.append(number)

    threads = [threading.Thread(target=go, args=(n,)) for n in reversed(range(20))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert passed == list(range(20))


def test_a_turn_that_fails_lets_the_next_one_go() -> None:
    turnstile = Turnstile()
    with pytest.raises(ValueError, match="cut"), turnstile.turn(0):
        raise ValueError("cut")
    with turnstile.turn(1):
        pass


def test_an_open_turnstile_holds_nobody() -> None:
    turnstile = Turnstile()
    turnstile.open()
    with turnstile.turn(7):
        pass
