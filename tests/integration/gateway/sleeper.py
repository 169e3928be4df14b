"""A reader that does not read: it follows an account, and then much happens there."""

from tests.integration.gateway.bad_input.raw import Raw, message
from tests.integration.gateway.book import Book


async def sleeper(url: str, book: Book) -> Raw:
    await book.open("busy")
    one = await Raw.open(url, narrow=True)
    one.send(message("subscribe", channels=[{"channel": "account:busy"}]))
    await one.until("snapshot")
    one.stop_reading()
    for number in range(60):
        await book.move("busy", *[number] * 20)
    return one
