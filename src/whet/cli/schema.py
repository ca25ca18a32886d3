"""`whet schema`: what a config may say, for editors."""


def command() -> None:
    """Print the JSON Schema of a config file.

    An editor that knows YAML completes and checks a config whose first line is
    `# yaml-language-server: $schema=whet.schema.json`, once `whet schema > whet.schema.json` has made that file.
    """
    from whet.config_schema import schema_text

    print(schema_text(), end="")
