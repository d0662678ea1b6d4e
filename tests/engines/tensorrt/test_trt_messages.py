from engines.tensorrt.messages import LONGEST_LOG, Messages


def test_only_what_is_said_inside_a_block_is_collected():
    messages = Messages()
    messages.add(1, "before")
    with messages.collect() as outer:
        messages.add(1, "one")
        with messages.collect() as inner:
            messages.add(0, "two")
        messages.add(2, "warned")
    messages.add(1, "after")
    assert inner.errors == ["two"]
    assert outer.errors == ["one", "two"]
    assert outer.warnings == ["warned"]


def test_a_reason_is_one_line_without_repeats_or_chatter():
    messages = Messages()
    messages.add(3, "information")
    messages.add(4, "chatter")
    assert messages.reason("none given") == "none given"
    messages.add(2, "a warning")
    assert messages.reason() == "a warning"
    for text in ("first\n  line", "first\n  line", "second"):
        messages.add(1, text)
    assert messages.reason() == "first line; second"


def test_a_long_log_keeps_its_end():
    messages = Messages()
    for number in range(3 * LONGEST_LOG):
        messages.add(1, str(number))
    assert messages.errors[-1] == str(3 * LONGEST_LOG - 1)
    assert len(messages.errors) <= LONGEST_LOG
