"""Options that several commands have."""

from __future__ import annotations

import click

quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Print nothing but warnings and errors."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="Compute device: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.",
)
about_option = click.option(
    "--about",
    metavar="TEXT",
    help="Description, sources and licence to store in the file.",
)
seed_option = click.option("--seed", default=0, show_default=True, help="Random seed.")
