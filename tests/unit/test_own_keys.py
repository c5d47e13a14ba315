"""Keys of a user's own: what they displace, and that nothing is asked for unless it was said."""

from pydantic import SecretStr

from worker.own_keys import OwnKeys, read_own_keys
from worker.settings import Settings

FLEET = {
    "ANTHROPIC_API_KEY": "key-of-the-fleet",
    "ANTHROPIC_AUTH_TOKEN": "token-of-the-fleet",
    "CLAUDE_CODE_OAUTH_TOKEN": "login-of-the-fleet",
    "AWS_BEARER_TOKEN_BEDROCK": "bedrock-of-the-fleet",
    "ANTHROPIC_BASE_URL": "https://model.example",
    "ANTHROPIC_MODEL": "claude",
}


def test_nothing_of_the_fleets_is_left_beside_a_key_of_the_users_own() -> None:
    for variable in ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        env = OwnKeys(model=SecretStr("key-of-ada"), variable=variable).instead(FLEET)
        assert env[variable] == "key-of-ada"
        assert not [value for value in env.values() if "of-the-fleet" in value]
        assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_MODEL"]) == ("https://model.example", "claude")
        # What Claude Code reads from a file, its launcher takes from the worker's environment unless covered.
        assert {"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"} <= set(env)


def test_without_a_key_for_the_model_its_environment_is_as_it_was() -> None:
    assert OwnKeys(github=SecretStr("token-of-ada")).instead(FLEET) == FLEET


def test_a_key_does_not_show_itself() -> None:
    own = OwnKeys(model=SecretStr("key-of-ada"), github=SecretStr("token-of-ada"))
    assert "of-ada" not in repr(own)
    assert own.values == ["key-of-ada", "token-of-ada"]


async def test_unless_it_is_told_to_a_worker_asks_nobody() -> None:
    settings = Settings(container_id="acme-site-ada")
    assert settings.own_keys is None
    assert await read_own_keys(settings) == OwnKeys()
