"""A server for each of the two models, in threads of this process."""

import pytest

from served import served_chat, served_gpt
from whet.serving.served import Served
from whet.serving.server import running


@pytest.fixture(scope="session")
def gpt() -> Served:
    return served_gpt()


@pytest.fixture(scope="session")
def chat() -> Served:
    return served_chat()


@pytest.fixture(scope="session")
def gpt_url(gpt):
    with running(gpt) as url:
        yield url


@pytest.fixture(scope="session")
def chat_url(chat):
    with running(chat) as url:
        yield url
