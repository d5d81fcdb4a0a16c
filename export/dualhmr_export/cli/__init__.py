"""The subcommands `dualhmr export` and `dualhmr verify`."""
