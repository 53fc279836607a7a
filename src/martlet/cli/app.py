"""The commands and their options; each hands over to a file of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import martlet
from martlet.cli import (
    benchmark_command,
    build_command,
    inspect_command,
    reply_command,
    run_command,
    verify_command,
)
from martlet.errors import MartletError

app = typer.Typer(
    help="Run, inspect and check .tflite models.",
    epilog="Each command shows examples: martlet run --help",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

ModelPath = Annotated[Path, typer.Argument(help="A .tflite file.", metavar="MODEL")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"martlet {martlet.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what is being done to stderr.")
    ] = False,
) -> None:
    if verbose:
        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("martlet").setLevel(logging.DEBUG)


def _friendly(command: Callable[..., None]) -> Callable[..., None]:
    """Errors of Martlet become one message and exit status 1."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MartletError as error:
            Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {_plain(error)}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return wrapped


def _plain(error: MartletError) -> str:
    return str(error).replace("[", r"\[")


@app.command("run")
@_friendly
def _run(
    model: ModelPath,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="An image or .npy file for each input, in order; NAME=FILE names the input.",
            metavar="[INPUT]...",
        ),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Random values for inputs that no file is given for.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of --random.")] = 0,
    labels: Annotated[Path | None, typer.Option(help="A file with one label a line.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best scores to show.")] = 5,
    mean: Annotated[
        list[float] | None, typer.Option(help="Taken off pixels first; once, or per channel.")
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option(help="Divides pixels then; once, or per channel.")
    ] = None,
    signature: Annotated[str | None, typer.Option(help="Run this signature.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the outputs to this .npz (or one .npy) file.")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Round as the reference kernels do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a model on images, arrays or random values.

    Images are resized to the input and normalised as the model's metadata say, or as --mean and
    --std say: value = (pixel - mean) / std, pixels being 0 to 255.

    \b
    martlet run mobilenet.tflite cat.jpg                      the five likeliest labels
    martlet run mobilenet.tflite cat.jpg --mean 127.5 --std 127.5 --labels imagenet.txt
    martlet run model.tflite image=cat.png mask=mask.npy --save out.npz
    martlet run model.tflite --random --json                  what comes out, for a program
    """
    run_command.run(
        run_command.Request(
            model, inputs or [], random, seed, labels, top, mean or [], std or [],
            signature, save, reference, as_json,
        )
    )  # fmt: skip


@app.command("inspect")
@_friendly
def _inspect(
    model: ModelPath,
    nodes: Annotated[bool, typer.Option("--nodes", help="Also list every node.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show inputs, outputs, signatures, operators, sizes, quantisation and memory.

    \b
    martlet inspect model.tflite
    martlet inspect model.tflite --nodes | less
    martlet inspect model.tflite --json | jq .memory
    """
    inspect_command.run(model, nodes, as_json)


@app.command("verify")
@_friendly
def _verify(model: ModelPath, as_json: AsJson = False) -> None:
    """Check a file and list everything that is wrong with it.

    The exit status is 0 if the model can be run (there may be warnings), 1 if it cannot.

    \b
    martlet verify model.tflite
    martlet verify model.tflite --json
    """
    raise typer.Exit(verify_command.run(model, as_json))


@app.command("benchmark")
@_friendly
def _benchmark(
    model: ModelPath,
    threads: Annotated[int, typer.Option(min=1, help="Threads that share each step.")] = 1,
    runs: Annotated[
        int | None, typer.Option(min=1, help="How many; by default, two seconds of them.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also time every step, beside the machine's peak.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how long a model takes, on random inputs.

    Times are in milliseconds. Of a step they are the least of all runs (and the median), rates are
    by the multiply-adds of the direct algorithm, and bytes count each tensor once.

    \b
    martlet benchmark model.tflite                      latency, from the best to the worst run
    martlet benchmark model.tflite --threads 2 --runs 100
    martlet benchmark model.tflite --profile | less -S  where the time goes
    martlet benchmark model.tflite --profile --json | jq '.profile.steps[] | select(.share > 0.05)'
    """
    benchmark_command.run(model, threads, runs, profile, as_json)


@app.command("reply")
@_friendly
def _reply(
    message: Annotated[str, typer.Argument(help="The message to answer.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="The SmartReply model.")] = Path(
        "smartreply.tflite"
    ),
    top: Annotated[int, typer.Option(min=1, help="How many replies to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Suggest short replies to a message with the SmartReply model.

    \b
    martlet reply "how are you?" --model smartreply.tflite
    martlet reply "See you tomorrow!" -m smartreply.tflite --json
    """
    reply_command.run(message, model, top, as_json)


@app.command("build-image")
@_friendly
def _build_image(
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="The processor; by default, this one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; by default, in the cache.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile all kernels for a processor into one file.

    Martlet does so by itself when it first needs to; this is for other processors, or to have it
    done beforehand.

    \b
    martlet build-image
    martlet build-image --target aarch64-neon --output aarch64-neon.image
    martlet build-image --json
    """
    build_command.run(target, output, as_json)
