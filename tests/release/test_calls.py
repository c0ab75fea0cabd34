"""Failed calls told in a sentence: what is wrong, whether it may pass, and how long to wait."""

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from distill.release.calls import trouble


def _refused(status: int, words: str = "", **headers: str) -> HfHubHTTPError:
    request = httpx2.Request("POST", "https://huggingface.co/api/models/org/student/commit/main")
    response = httpx2.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()}, request=request)
    return HfHubHTTPError("refused", response=response, server_message=words)


def _within(error: Exception) -> RuntimeError:
    """As the library wraps what went wrong in an upload's thread."""
    wrapped = RuntimeError("Error while uploading 'model.safetensors' to the Hub.")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "says", "passing"),
    [
        (_refused(401), "does not know the token", False),
        (_refused(403, "no rights"), "write to org/student (no rights); log in with `hf auth login`", False),
        (_refused(403, "Private repository storage limit reached"), "no room for org/student", False),
        (_refused(402), "no room", False),
        (_refused(413), "no room", False),
        (_refused(404), "org/student is not on the Hub", False),
        (_refused(412, "A commit has happened since"), "somebody else changed org/student", False),
        (_refused(400, "bad name"), "answers 400 for org/student (bad name)", False),
        (_refused(429), "asks for fewer requests", True),
        (_refused(503), "answers 503", True),
        (_within(_refused(403, "no rights")), "no rights", False),
        (_within(httpx2.ConnectError("refused")), "cannot be reached for org/student", True),
        (httpx2.ReadTimeout("too slow"), "cannot be reached", True),
        (OfflineModeIsEnabled("offline"), "unset it", False),
        (LocalTokenNotFoundError("none"), "there is no token", False),
        (FileNotFoundError("gone.safetensors"), "gone.safetensors", False),
        (ValueError("Invalid metadata in README.md.\n- bad"), "refuses something of org/student", False),
        (ValueError("Expecting value: line 1 column 1"), "makes no sense", True),
        (KeyError("commitUrl"), "makes no sense", True),
    ],
)
def test_each_trouble_is_one_sentence(error: Exception, says: str, passing: bool) -> None:
    told = trouble(error, "org/student")
    assert says in told.text and "\n" not in told.text and told.passing == passing


def test_the_hub_is_waited_for_as_long_as_it_asks() -> None:
    assert trouble(_refused(429, retry_after="7"), "x").wait_s == 8
    assert trouble(_refused(429, ratelimit='"api";r=0;t=55'), "x").wait_s == 56
    assert trouble(_refused(429, retry_after="soon"), "x").wait_s is None
    assert trouble(_refused(503, ratelimit='"api";r=900;t=55'), "x").wait_s is None


def test_words_from_the_hub_are_short_and_carry_no_token_and_no_control_characters() -> None:
    told = trouble(_refused(403, "no \x1b[31m hf_abcDEF123 " + "x" * 1000), "org/student").text
    assert "\x1b" not in told and "hf_abc" not in told and len(told) < 500
