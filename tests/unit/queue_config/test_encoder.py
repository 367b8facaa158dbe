import dramatiq
import dramatiq.errors
import pytest

from queue_config.encoder import Encoder


def test_a_message_survives_its_journey() -> None:
    message = dramatiq.Message(
        queue_name="images", actor_name="generations.render", args=(["tsk_1", "tsk_2"],), kwargs={}, options={}
    )
    assert dramatiq.Message(**Encoder().decode(Encoder().encode(message.asdict()))) == message


@pytest.mark.parametrize("data", [b"", b"{}", b"[1,2]", b"\xff\x00", b'["images","a",[],{},{},"id","soon"]'])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(dramatiq.errors.DecodeError):
        Encoder().decode(data)
