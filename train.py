"""Fine-tune an encoder: `python train.py peft=lora model=bert-base`; `--help` lists the choices."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older one has to be told
    sys.exit(f"finesweep needs Python 3.11 or newer, and this is {sys.version.split()[0]}.")

try:
    from finesweep.commands.train import train
except ModuleNotFoundError as error:
    if error.name != "finesweep":
        raise
    sys.exit(
        f"finesweep isn't installed for {sys.executable}. Either `make train`, then `. .venv/bin/activate`, "
        "or `pip install -e '.[demo]'`."
    )

if __name__ == "__main__":
    train()
